"""What a command says: results on standard output, all else on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from txdicom.scu import Association


class Output:
    """Text for people, or JSON Lines for programs: then standard output has one object a line and nothing else."""

    def __init__(self, *, as_json: bool = False, verbose: bool = False, debug: bool = False) -> None:
        self.as_json = as_json
        self.verbose = verbose or debug
        self.debug = debug

    def record(self, kind: str, **values: Any) -> None:
        """A result, for programs."""
        if self.as_json:
            import json

            _print(sys.stdout, json.dumps({"type": kind, **values}))

    def say(self, text: str) -> None:
        """A result, for people."""
        if not self.as_json:
            _print(sys.stdout, text)

    def detail(self, text: str) -> None:
        """Something that only -v shows."""
        if self.verbose:
            _print(sys.stderr, text)

    def complain(self, text: str) -> None:
        """An error or a warning."""
        _print(sys.stderr, text)

    def fail(self, error: Exception, about: str = "") -> int:
        """What has gone wrong, a line for each sentence of it; the exit status."""
        prefix = f"{about}: " if about else ""
        for problem in getattr(error, "problems", None) or [str(error)]:
            self.complain(f"Error: {prefix}{problem}")
        return 1

    def negotiated(self, association: Association) -> None:
        """What was agreed with the peer."""
        if not self.verbose:
            return
        from txdicom.uids import name_of

        for one in association.associations:
            agreement = one.agreement
            if agreement is None or one.request is None:
                continue
            version = agreement.peer_implementation_version_name or agreement.peer_implementation_class_uid
            self.detail(
                f"{one.called_ae} ({version or 'of unknown make'}) accepted {len(agreement.contexts)} of "
                f"{len(one.request.contexts)} presentation contexts; it takes PDUs of "
                f"{agreement.max_send or 'any number of'} bytes and {agreement.invoked or 'any number of'} "
                f"operations at once"
            )
            if self.debug:
                for context in one.request.contexts:
                    accepted = agreement.contexts.get(context.context_id)
                    answer = f"accepted, {name_of(accepted.transfer_syntax)}" if accepted else "not accepted"
                    self.detail(f"  {context.context_id:3} {name_of(context.abstract_syntax)}: {answer}")


def printable(text: str) -> str:
    """`text` without anything that a terminal would obey: file names and peers may hold what they like."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _print(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    print(printable(text).encode(encoding, "backslashreplace").decode(encoding), file=stream)
