"""An add-in that logs every message: which, of what class, with what status and how large, and nothing of a patient.

python examples/log_messages.py [PORT]
echoscu -aec LOGS 127.0.0.1 11114                  # DCMTK's, or: txdicom echo LOGS@127.0.0.1:11114
"""

import sys

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import Logger, globalLogBeginner, textFileLogObserver
from zope.interface import implementer

from txdicom.addins.verification import VerificationAddin
from txdicom.interfaces import IDicomAddin, INotifyReceiveMessage, INotifySendMessage, PDUEvent
from txdicom.scp import listen

PDUS = {
    1: "A-ASSOCIATE-RQ",
    2: "A-ASSOCIATE-AC",
    3: "A-ASSOCIATE-RJ",
    5: "A-RELEASE-RQ",
    6: "A-RELEASE-RP",
    7: "A-ABORT",
}


@implementer(IDicomAddin, INotifyReceiveMessage, INotifySendMessage)
class LogMessages:
    name, version, author = "log-messages", "1.0", "you"
    description = "Logs every message"
    log = Logger()

    def load(self, server):
        pass

    def unload(self):
        pass

    def message_received(self, event):
        self.show(event)

    def before_send(self, event):
        pass  # a Change would change it, `raise Veto("why")` would keep it back

    def message_sent(self, event):
        self.show(event)

    def show(self, event):
        where = f"association {event.association.number}: {event.direction}"
        if not isinstance(event, PDUEvent):
            command = event.command
            status = "" if command.status is None else f", status {command.status:04X}H"
            size = "" if event.size is None else f", data set of {event.size} bytes"
            sop_class = command.affected_sop_class or command.requested_sop_class or event.context.abstract_syntax
            line = f"{command.name} of {sop_class}{status}{size}"
        elif event.type in PDUS:  # those of the messages would only repeat them
            line = f"{PDUS[event.type]} of {event.length} bytes"
        else:
            return
        self.log.info("{where} {line}", where=where, line=line)


async def main(reactor, port="11114"):
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    server = await listen(
        reactor, f"tcp:{port}:interface=127.0.0.1", ae_title="LOGS", addins=[VerificationAddin(), LogMessages()]
    )
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.stop()))
    print("LOGS listens on port", server.ports[0].getHost().port, flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    react(main, sys.argv[1:])
