"""A PACS in one file: keeps the images of some SOP classes in a folder, one connection a peer, and says what it does.

python examples/pacs.py FOLDER [PORT [SECONDS]]    # until Ctrl-C; who is idle for SECONDS (30) is aborted
storescu -aec PACS 127.0.0.1 11116 *.dcm           # DCMTK's, or: txdicom store PACS@127.0.0.1:11116 *.dcm
"""

import os
import sys
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from zope.interface import implementer

from txdicom.addins.verification import VerificationAddin
from txdicom.dimse import status
from txdicom.interfaces import IDicomAddin, IProcessCStore, blocking, presentation_context
from txdicom.scp import listen
from txdicom.uids import is_uid

#: what is kept; presentation contexts for anything else are not accepted
SOP_CLASSES = [
    "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
    "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.88.11",  # Basic Text SR Storage
]


def included(handler):
    for sop_class in SOP_CLASSES:
        handler = presentation_context(sop_class)(handler)
    return handler


@implementer(IDicomAddin, IProcessCStore)
class KeepInFolder:
    name, version, author = "keep-in-folder", "1.0", "you"
    description = "Keeps instances as STUDY/SERIES/INSTANCE.dcm"

    def __init__(self, folder):
        self.folder = Path(folder)

    def load(self, server):
        self.folder.mkdir(parents=True, exist_ok=True)

    def unload(self):
        pass

    @included
    @blocking  # it waits for the disk, so it runs in a thread
    def on_c_store(self, request):
        if not is_uid(request.sop_instance):
            return status.INVALID_SOP_INSTANCE
        # under a name of its own until it is complete; a file of that instance is then replaced at once
        part = self.folder / f".{request.association.number}-{request.message_id}.part"
        try:
            request.received.save(part)
            head = dcmread(part, specific_tags=["StudyInstanceUID", "SeriesInstanceUID"], stop_before_pixels=True)
            uids = [str(head.get(name, "")) for name in ("StudyInstanceUID", "SeriesInstanceUID")]
            if not all(map(is_uid, uids)):  # what a peer sent becomes a path only if it is a UID
                return status.CANNOT_UNDERSTAND.with_comment("no Study or Series Instance UID")
            path = self.folder.joinpath(*uids, f"{request.sop_instance}.dcm")
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        print(f"{request.association.calling_ae} stored {UID(request.sop_class).name}: {path}", flush=True)
        return status.SUCCESS


async def main(reactor, folder, port="11116", seconds="30"):
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    server = await listen(
        reactor,
        f"tcp:{port}:interface=127.0.0.1",  # without interface= every computer that can reach this one
        ae_title="PACS",
        addins=[VerificationAddin(), KeepInFolder(folder)],
        allow_multiple_connections=False,  # a second one of the same AE title is rejected
        client_timeout=float(seconds),
    )
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.stop()))
    print("PACS listens on port", server.ports[0].getHost().port, flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    react(main, sys.argv[1:])
