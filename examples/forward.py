"""A router in one file: forwards each instance that it receives, and answers Success once the destination has it.

python examples/forward.py DESTINATION HOST PORT [OUR_PORT]
txdicom store FORWARD@127.0.0.1:11114 *.dcm
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from zope.interface import implementer

from txdicom.addins.verification import VerificationAddin
from txdicom.dimse import status
from txdicom.errors import DicomError
from txdicom.interfaces import (
    ANY_STORAGE,
    AEEntry,
    IDicomAddin,
    IDicomRequest,
    IProcessCStore,
    presentation_context,
)
from txdicom.scp import listen


@implementer(IDicomAddin, IProcessCStore)
class Forward:
    name, version, author = "forward", "1.0", "you"
    description = "Forwards what it receives"

    def __init__(self, destination):
        self.destination = destination  # an AE title that the server knows

    def load(self, server):
        self.requests = server.service(IDicomRequest)

    def unload(self):
        pass

    @presentation_context(ANY_STORAGE)
    async def on_c_store(self, request):
        # associations are opened, kept for the next instance, and released by the service
        try:
            answer = await self.requests.c_store(self.destination, request.received)
        except DicomError as error:
            print("not forwarded:", error, flush=True)
            return status.OUT_OF_RESOURCES.with_comment("the destination cannot be reached")
        print("forwarded", request.sop_instance, answer, flush=True)
        return answer


async def main(reactor, destination, host, port, our_port="11114"):
    server = await listen(
        reactor,
        f"tcp:{our_port}:interface=127.0.0.1",
        ae_title="FORWARD",
        addins=[VerificationAddin(), Forward(destination)],
        known_callers=[AEEntry(ae_title=destination, host=host, port=int(port))],
    )
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.stop()))
    print("FORWARD listens on port", server.ports[0].getHost().port, flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    react(main, sys.argv[1:])
