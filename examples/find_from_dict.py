"""A server in one file: answers C-FIND (Study Root) from a dict.

python examples/find_from_dict.py [PORT]
findscu -S -aec FINDER -k QueryRetrieveLevel=STUDY -k PatientID=1CT1 -k StudyInstanceUID 127.0.0.1 11114      # DCMTK's
"""

import sys
from fnmatch import fnmatchcase

from pydicom import Dataset
from twisted.internet.defer import Deferred
from twisted.internet.task import react
from zope.interface import implementer

from txdicom.addins.verification import VerificationAddin
from txdicom.dimse import status
from txdicom.errors import StatusError
from txdicom.interfaces import IDicomAddin, IProcessCFind, Match, presentation_context
from txdicom.scp import listen

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
#: by Study Instance UID
STUDIES = {
    "1.2.826.0.1.3680043.10.1561.1": {"PatientID": "1CT1", "PatientName": "Müller^Ada", "StudyDate": "20260102"},
    "1.2.826.0.1.3680043.10.1561.2": {"PatientID": "1CT1", "PatientName": "Müller^Ada", "StudyDate": "20260711"},
    "1.2.826.0.1.3680043.10.1561.3": {"PatientID": "4MR1", "PatientName": "Doe^Jane", "StudyDate": "20260304"},
}


@implementer(IDicomAddin, IProcessCFind)
class FindFromDict:
    name, version, author = "find-from-dict", "1.0", "you"
    description = "Answers queries for studies from a dict"

    def load(self, server):
        pass

    def unload(self):
        pass

    @presentation_context(STUDY_ROOT_FIND)
    def on_c_find(self, request):
        wanted = request.identifier
        if wanted.get("QueryRetrieveLevel") != "STUDY":
            raise StatusError(status.IDENTIFIER_MISMATCH.with_comment("only studies are found here"))
        for uid, study in STUDIES.items():
            values = {"StudyInstanceUID": uid, **study}
            if all(matches(key, values) for key in wanted):
                yield answer(wanted, values)


def matches(key, values):
    """Whether a study matches one key; * and ? are wild cards (PS3.4 C.2.2.2.4), and no value matches all of them."""
    return key.keyword not in values or fnmatchcase(values[key.keyword], str(key.value or "*"))


def answer(wanted, values):
    """What is asked for, and nothing else; what the dict does not have comes back empty."""
    match = Dataset()
    unsupported = False
    for key in wanted:
        unsupported |= key.keyword not in {*values, "SpecificCharacterSet", "QueryRetrieveLevel"}
        match.add_new(key.tag, key.VR, values.get(key.keyword))
    match.SpecificCharacterSet = "ISO_IR 192"  # UTF-8
    match.QueryRetrieveLevel = "STUDY"
    return Match(match, unsupported_keys=unsupported)


async def main(reactor, port="11114"):
    server = await listen(
        reactor, f"tcp:{port}:interface=127.0.0.1", ae_title="FINDER", addins=[VerificationAddin(), FindFromDict()]
    )
    reactor.addSystemEventTrigger("before", "shutdown", lambda: Deferred.fromCoroutine(server.stop()))
    print("FINDER listens on port", server.ports[0].getHost().port, flush=True)
    await Deferred()  # until Ctrl-C


if __name__ == "__main__":
    react(main, sys.argv[1:])
