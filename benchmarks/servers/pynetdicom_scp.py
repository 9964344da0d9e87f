"""A bare pynetdicom SCP for Verification and all Storage classes: the encoded data set is written, not decoded."""

from __future__ import annotations

import argparse
import os

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, evt

VERIFICATION = "1.2.840.10008.1.1"
SUCCESS = 0x0000


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ae-title", required=True)
    parser.add_argument("--max-pdu", type=int, required=True)
    parser.add_argument("--store", required=True)
    arguments = parser.parse_args()

    def store(event: evt.Event) -> int:
        name = str(event.request.AffectedSOPInstanceUID)  # type: ignore[union-attr]  # a C-STORE has it
        with open(os.path.join(arguments.store, name), "wb") as file:
            file.write(event.encoded_dataset())
        return SUCCESS

    _config.LOG_HANDLER_LEVEL = "none"
    entity = AE(arguments.ae_title)
    entity.maximum_pdu_size = arguments.max_pdu
    entity.maximum_associations = 5000
    entity.network_timeout = None
    entity.add_supported_context(VERIFICATION)
    for context in AllStoragePresentationContexts:
        if context.abstract_syntax:
            entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    entity.start_server(("127.0.0.1", arguments.port), evt_handlers=[(evt.EVT_C_STORE, store)])


if __name__ == "__main__":
    main()
