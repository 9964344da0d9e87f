"""A pynetdicom SCP in a process of its own: `pynetdicom_scp.py PORT FOLDER [MAX_PDU] [CALLED_AE]`.

It answers C-ECHO, accepts every storage SOP class in every transfer syntax it knows, and writes each data set it gets
to FOLDER/NUMBER-SOP_INSTANCE.dcm. With CALLED_AE it wants to be called so.
"""

from __future__ import annotations

import itertools
import signal
import sys
from pathlib import Path

from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, AllStoragePresentationContexts, _config, evt
from pynetdicom.sop_class import Verification

PALETTE = "1.2.840.10008.5.1.4.39.1"


def main() -> None:
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    ae = AE("PYNETDICOM")
    ae.maximum_associations = 20
    if len(sys.argv) > 3:
        ae.maximum_pdu_size = int(sys.argv[3])
    if len(sys.argv) > 4:
        ae.ae_title = sys.argv[4]
        ae.require_called_aet = True
    ae.add_supported_context(Verification)
    ae.add_supported_context(PALETTE, AllTransferSyntaxes)
    for context in AllStoragePresentationContexts:
        ae.add_supported_context(context.abstract_syntax, AllTransferSyntaxes)
    numbers = itertools.count()

    def store(event: evt.Event) -> int:
        name = f"{next(numbers)}-{event.request.AffectedSOPInstanceUID}.dcm"
        (folder / name).write_bytes(event.encoded_dataset(include_meta=True))
        return 0x0000

    ae.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
