"""What a parent and its worker say to each other, beside the commands and the events of administrators."""

from __future__ import annotations

from twisted.protocols.amp import Boolean, Integer, Unicode

from txdicom.admin.commands import AdminCommand
from txdicom.admin.json_argument import Json

# -- to the worker -----------------------------------------------------------------------------------------------------


class Begin(AdminCommand):
    """The worker starts with these values (`txdicom.server.workers.inside.Start`). Ready or Failed follows."""

    arguments = [(b"start", Json())]


class Drain(AdminCommand):
    """The worker lets its operations finish, unloads, and ends."""

    requiresAnswer = False  # noqa: N815 (Twisted's name)


class AbortAll(AdminCommand):
    """The worker aborts all that is running."""

    requiresAnswer = False  # noqa: N815 (Twisted's name)


class Apply(AdminCommand):
    """The worker takes this text of server.toml, which the parent has checked, and answers an `Applied`."""

    arguments = [(b"text", Json())]
    response = [(b"changed", Json()), (b"restart", Json())]


class ReloadFiles(AdminCommand):
    """The worker reads again what it has read of files: certificates, AE titles."""


class Ping(AdminCommand):
    """The worker answers, as long as it does anything."""


# -- to the parent -----------------------------------------------------------------------------------------------------


class Ready(AdminCommand):
    """The worker takes connections."""

    requiresAnswer = False  # noqa: N815 (Twisted's name)


class Failed(AdminCommand):
    """The worker cannot start, for the reason in this sentence, and ends."""

    arguments = [(b"sentence", Json())]
    requiresAnswer = False  # noqa: N815 (Twisted's name)


class TakeSlot(AdminCommand):
    """Whether the connection of this number may become an association of this calling AE title."""

    arguments = [(b"number", Integer()), (b"calling_ae", Unicode())]
    response = [(b"granted", Boolean())]


class FreeSlot(AdminCommand):
    """The connection of this number is gone."""

    arguments = [(b"number", Integer())]
    requiresAnswer = False  # noqa: N815 (Twisted's name)


class Exhausted(AdminCommand):
    """The worker has no file descriptor left for connections."""

    requiresAnswer = False  # noqa: N815 (Twisted's name)
