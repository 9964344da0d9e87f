"""A pynetdicom SCU in a process of its own: `pynetdicom_store.py CALLED_AE`, jobs on standard input.

The jobs are a JSON list of `{"port": …, "files": [[path, transfer syntax or ""], …]}`, each on one association. For
each file it prints a JSON line `[path, status, error]`: `status` is null where it was not sent, `error` then says why.
"""

from __future__ import annotations

import json
import sys
import warnings

from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE


def send(called_ae: str, port: int, files: list[list[str]]) -> None:
    ae = AE("PYNETDICOM")
    wanted = set()
    for path, transfer_syntax in files:
        sop_class = dcmread(path, force=True, specific_tags=["SOPClassUID"]).SOPClassUID
        wanted.add((sop_class, transfer_syntax or ImplicitVRLittleEndian))
    for sop_class, transfer_syntax in sorted(wanted):
        ae.add_requested_context(sop_class, transfer_syntax)
    association = ae.associate("127.0.0.1", port, ae_title=called_ae)
    for path, _ in files:
        status, error = None, ""
        try:
            status = association.send_c_store(path).get("Status")
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        sys.stdout.write(json.dumps([path, status, error]) + "\n")
    association.release()


def main() -> None:
    warnings.simplefilter("ignore")  # pydicom's, about files that are wrong on purpose
    for job in json.load(sys.stdin):
        send(sys.argv[1], job["port"], job["files"])


if __name__ == "__main__":
    main()
