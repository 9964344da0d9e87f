"""A server in one file: keeps CT images in a folder, answers C-ECHO, and says what it got.

python examples/keep_ct.py FOLDER [PORT]
storescu -aec KEEP_CT 127.0.0.1 11113 *.dcm        # DCMTK's, or: txdicom store KEEP_CT@127.0.0.1:11113 *.dcm
"""

import sys
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from zope.interface import implementer

from txdicom.addins.verification import VerificationAddin
from txdicom.dimse import status
from txdicom.interfaces import IDicomAddin, IProcessCStore, presentation_context
from txdicom.scp import listen

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


@implementer(IDicomAddin, IProcessCStore)
class KeepCT:
    name, version, author = "keep-ct", "1.0", "you"
    description = "Keeps CT images in a folder"

    def __init__(self, folder):
        self.folder = Path(folder)

    def load(self, server):
        self.folder.mkdir(parents=True, exist_ok=True)

    def unload(self):
        pass

    @presentation_context(CT_IMAGE_STORAGE)
    async def on_c_store(self, request):
        if request.dataset.get("Rows", 0) > 4096:
            return status.OUT_OF_RESOURCES.with_comment("that is too large for me")
        # a UID that was checked to be one, never a name from the data set
        await deferToThread(request.received.save, self.folder / f"{request.sop_instance}.dcm")
        print("stored", request.sop_class, request.received.size, "bytes from", request.association.calling_ae)
        return status.SUCCESS


async def main(reactor, folder, port="11113"):
    server = await listen(
        reactor, f"tcp:{port}:interface=127.0.0.1", ae_title="KEEP_CT", addins=[VerificationAddin(), KeepCT(folder)]
    )
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.stop()))
    print("KEEP_CT listens on port", server.ports[0].getHost().port, flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    react(main, sys.argv[1:])
