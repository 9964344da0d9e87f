"""Where the `txdicom` command begins. It imports nothing but what every call needs: its start is waited for."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: exit statuses as shells give them for a signal, 128 + its number
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; its exit status is 0 only if all went well, 2 for a mistake in the command line."""
    try:
        import click

        from txdicom.cli.commands import txdicom

        try:
            status = txdicom.main(args=arguments, prog_name="txdicom", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            status = error.exit_code
        except click.Abort:
            status = INTERRUPTED
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status if isinstance(status, int) else 0
