"""`txdicom echo`: is the peer there, and does it know us?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from txdicom.cli.options import connecting, connection_of, reporting
from txdicom.cli.output import Output

if TYPE_CHECKING:
    from txdicom.cli.options import Connection


@click.command(short_help="Ask a peer whether it is there (C-ECHO).")
@connecting
@reporting
def echo(verbose: bool, debug: bool, as_json: bool, **values: Any) -> int:
    """Ask PEER whether it is there (C-ECHO): AET@host:port, or host:port with -aec. Without a port: 104,
    with --tls 2762.

    \b
    Examples:
      txdicom echo PACS@192.168.1.20:11112
      txdicom echo -aet MODALITY -aec PACS pacs.example.org:11112
      txdicom echo --json 'PACS@[::1]:11112'
      txdicom echo --tls --tls-ca hospital-ca.pem PACS@pacs.example.org
      txdicom echo --user alice --password-file secret.txt PACS@pacs.example.org
      txdicom echo --tls --tls-ca ca.pem --tls-cert us.pem --tls-key us.key PACS@pacs.example.org:2762

    The exit status is 0 only if PEER answers Success.

    --json prints one object: type "echo", peer, success, status, seconds (null without an answer), error.
    """
    connection = connection_of(values)
    return _echo(connection, Output(as_json=as_json, verbose=verbose, debug=debug))


def _echo(connection: Connection, output: Output) -> int:
    from txdicom.cli.running import run
    from txdicom.dimse.status import Status
    from txdicom.errors import DicomError
    from txdicom.scu.association import connect
    from txdicom.uids import VERIFICATION

    async def work(reactor: Any) -> int:
        status: Status | None = None
        seconds, error = None, ""
        try:
            async with connect(
                reactor, connection.peer, contexts=[VERIFICATION], **connection.options()
            ) as association:
                output.negotiated(association)
                begun = time.monotonic()
                status = await association.echo()
                seconds = time.monotonic() - begun
                if not status.is_success:
                    error = f"{connection.peer} answered {status}"
        except DicomError as failure:
            from txdicom.cli.explain import explain

            error = explain(failure, connection)
        output.record(
            "echo",
            peer=str(connection.peer),
            success=not error,
            status=None if status is None else f"{status.code:04X}",
            seconds=None if seconds is None else round(seconds, 6),
            error=error,
        )
        if error:
            output.complain(f"Error: {error}")
            return 1
        output.say(f"{connection.peer} answered {status} in {1000 * (seconds or 0):.1f} ms")
        return 0

    return run(work, debug=output.debug)
