"""`txdicom store`: sends files and folders."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from txdicom.cli.options import connecting, connection_of, reporting
from txdicom.cli.output import Output

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from txdicom.cli.options import Connection
    from txdicom.scu import Selection, StoreResult, StoreScu


_INTERRUPTED: Final = "interrupted: the peer may have stored files that it had not answered yet"


@click.command(short_help="Send DICOM files and folders to a peer (C-STORE).")
@connecting
@click.argument("files", metavar="FILES...", nargs=-1, required=True, type=click.Path())
@click.option(
    "-n",
    "--associations",
    metavar="N",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    help="Associations at once, which share the files.",
)
@click.option(
    "--window",
    metavar="N",
    type=click.IntRange(0, 65_535),
    default=16,
    show_default=True,
    help="Files under way at once on an association, if the peer grants it; 0: as many as it likes; 1: do not ask.",
)
@reporting
def store(
    files: tuple[str, ...],
    associations: int,
    window: int,
    verbose: bool,
    debug: bool,
    as_json: bool,
    **values: Any,
) -> int:
    """Send files, and all DICOM files below folders, to PEER (C-STORE): AET@host:port, or host:port with -aec.

    \b
    Examples:
      txdicom store PACS@192.168.1.20:11112 image.dcm
      txdicom store -aet MODALITY --associations 4 PACS@pacs.example.org study/
      txdicom store --tls --tls-ca hospital-ca.pem PACS@pacs.example.org study/
      txdicom store --json PACS@localhost:11112 study/ | jq -r 'select(.error) | .path'

    The data sets go out byte for byte. In folders, files that are not DICOM and DICOMDIRs are passed over; a data set
    that is cut short is not sent. The exit status is 0 only if every file was stored. Ctrl-C aborts the associations
    and says how many files were stored; the exit status is 130 then.

    --json prints an object for each file (type "instance": path, sop_class_uid, sop_instance_uid,
    transfer_syntax_uid, bytes, stored, status, error), and at the end one of type "summary" (peer, success, files,
    stored, warnings, failed, skipped, bytes, seconds, error).
    """
    connection = connection_of(values)
    output = Output(as_json=as_json, verbose=verbose, debug=debug)
    return _store(connection, files, {"associations": associations, "window": window}, output)


@dataclass
class Tally:
    """What became of the files."""

    stored: int = 0
    warnings: int = 0
    failed: int = 0
    bytes: int = 0

    def add(self, result: StoreResult) -> None:
        """One more."""
        if result.stored:
            self.stored += 1
            self.bytes += result.size
            self.warnings += result.status is not None and result.status.is_warning
        else:
            self.failed += 1


def _store(connection: Connection, files: tuple[str, ...], options: dict[str, Any], output: Output) -> int:
    from twisted.internet.defer import CancelledError

    from txdicom.cli.running import run
    from txdicom.errors import DicomError
    from txdicom.scu import StoreScu, select

    selection = select(files)
    tally = Tally()

    async def work(reactor: Any) -> int:
        begun = time.monotonic()
        error = ""
        try:
            async with StoreScu(reactor, connection.peer, **options, **connection.options()) as scu:
                with _bar(reactor, scu, selection, output):
                    results = scu.store(selection)
                    async for result in results:
                        tally.add(result)
                        _report(result, output)
        except DicomError as failure:
            from txdicom.cli.explain import explain

            error = explain(failure, connection)
        except CancelledError:
            _summary(connection, selection, tally, time.monotonic() - begun, _INTERRUPTED, output)
            raise
        return _summary(connection, selection, tally, time.monotonic() - begun, error, output)

    return run(work, debug=output.debug)


def _report(result: StoreResult, output: Output) -> None:
    status = result.status
    output.record(
        "instance",
        path=result.path,
        sop_class_uid=result.sop_class_uid,
        sop_instance_uid=result.sop_instance_uid,
        transfer_syntax_uid=result.transfer_syntax_uid,
        bytes=result.size,
        stored=result.stored,
        status=None if status is None else f"{status.code:04X}",
        error=result.error,
    )
    if result.error:
        output.complain(f"{result.path}: {result.error}")
    elif status is not None and status.is_warning:
        output.complain(f"{result.path}: stored with a warning, {status}")
    else:
        output.detail(f"{result.path}: stored")


def _summary(
    connection: Connection, selection: Selection, tally: Tally, seconds: float, error: str, output: Output
) -> int:
    """Says what became of it all; the exit status."""
    files = len(selection.files)
    if not error and not files:
        error = "there is no DICOM file to send; check what is given as FILES"
    success = not error and tally.stored == files
    output.record(
        "summary",
        peer=str(connection.peer),
        success=success,
        files=files,
        stored=tally.stored,
        warnings=tally.warnings,
        failed=files - tally.stored,
        skipped=selection.skipped,
        bytes=tally.bytes,
        seconds=round(seconds, 3),
        error=error,
    )
    if files and (tally.stored or tally.failed or error == _INTERRUPTED):
        rate = f", {tally.bytes / 1e6:.1f} MB in {seconds:.1f} s, {tally.bytes / 1e6 / max(seconds, 1e-3):.0f} MB/s"
        output.say(
            f"{tally.stored} of {files} files stored{rate if tally.stored else ''}"
            + (f"; {tally.warnings} with a warning" if tally.warnings else "")
            + (f"; {files - tally.stored} not stored" if files > tally.stored else "")
            + (f"; {selection.skipped} other files passed over" if selection.skipped else "")
        )
    if error:
        output.complain(f"Error: {error}")
    return 0 if success else 1


def _bar(reactor: Any, scu: StoreScu, selection: Selection, output: Output) -> AbstractContextManager[object]:
    """A progress bar, where someone sits before standard error."""
    if output.as_json or output.verbose or not sys.stderr.isatty():
        return nullcontext()
    from txdicom.cli.progress import Bar

    return Bar(reactor, scu, selection)
