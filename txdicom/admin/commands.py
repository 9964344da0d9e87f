"""The commands of the administrative interface, and the events that a server sends to those who subscribe.

Every failure of a command is one of `txdicom.admin.errors.ERRORS`, and the link goes on after it.

A list command gives a page: `limit` entries (at most 1,000; 200 without it) that come after the key `after`, in the
order of their keys, and `more`: whether there are others behind them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.protocols.amp import Argument, Boolean, Command, Integer, Unicode

from txdicom.admin.errors import ERRORS
from txdicom.admin.json_argument import Json

#: bytes of what has a few values only: reading 4 MiB takes a while
_SMALL = 65_536
_PAGE_RESPONSE: list[tuple[bytes, Argument]] = [(b"page", Json()), (b"more", Boolean())]


class AdminCommand(Command):
    """What an administrator asks."""

    errors: ClassVar[dict[type[Exception], bytes]] = dict(ERRORS)


class Version(AdminCommand):
    """The versions of txdicom, Twisted, Python and others, by name."""

    response = [(b"versions", Json())]


class GetStatus(AdminCommand):
    """The values of a `ServerStatus`."""

    response = [(b"status", Json())]


class GetSettings(AdminCommand):
    """The settings in force, by table and name."""

    response = [(b"settings", Json())]


class SetSettings(AdminCommand):
    """Changes settings, by table and name, in server.toml and in force; with the values of an `Applied`."""

    arguments = [(b"settings", Json())]
    response = [(b"applied", Json())]


class Pause(AdminCommand):
    """New associations are rejected until `Resume`."""


class Resume(AdminCommand):
    """Associations are accepted again."""


class Stop(AdminCommand):
    """The server stops; with `force`, running operations are aborted."""

    arguments = [(b"force", Boolean(optional=True))]


class AddAeTitle(AdminCommand):
    """Adds an AE title; `entry` are the values of an `AEEntry`."""

    arguments = [(b"entry", Json(limit=_SMALL))]


class UpdateAeTitle(AdminCommand):
    """Changes the values in `entry` of an AE title, which another `ae_title` in it renames."""

    arguments = [(b"ae_title", Unicode()), (b"entry", Json(limit=_SMALL))]


class RemoveAeTitle(AdminCommand):
    """Removes an AE title."""

    arguments = [(b"ae_title", Unicode())]


class GetAeTitles(AdminCommand):
    """A page of AE titles; the key is the title. `last_access` is in seconds since 1970."""

    arguments = [(b"after", Unicode(optional=True)), (b"limit", Integer(optional=True))]
    response = _PAGE_RESPONSE


class GetConnectedClients(AdminCommand):
    """A page of `ConnectedClient`; the key is the id."""

    arguments = [(b"after", Integer(optional=True)), (b"limit", Integer(optional=True))]
    response = _PAGE_RESPONSE


class GetClientAssociation(AdminCommand):
    """What was negotiated with a client, as text of several lines."""

    arguments = [(b"id", Integer())]
    response = [(b"text", Json())]


class GetTotalClients(AdminCommand):
    """Connections now, associations now, and associations since the start."""

    response = [(b"connections", Integer()), (b"associations", Integer()), (b"total", Integer())]


class DisconnectClient(AdminCommand):
    """Aborts a client's association and closes its connection."""

    arguments = [(b"id", Integer())]


class GetAddins(AdminCommand):
    """A page of `AddinInfo`; the key is the name."""

    arguments = [(b"after", Unicode(optional=True)), (b"limit", Integer(optional=True))]
    response = _PAGE_RESPONSE


class GetAddinOptions(AdminCommand):
    """The settings of an add-in, and their JSON Schema."""

    arguments = [(b"name", Unicode())]
    response = [(b"values", Json()), (b"json_schema", Json())]


class SetAddinOptions(AdminCommand):
    """Changes settings of an add-in, by key, in their file and in force; with the values of an `Applied`."""

    arguments = [(b"name", Unicode()), (b"values", Json())]
    response = [(b"applied", Json())]


class IsAddinHealthy(AdminCommand):
    """Whether an add-in works, and sentences on why not."""

    arguments = [(b"name", Unicode())]
    response = [(b"healthy", Boolean()), (b"sentences", Json())]


class ServiceMessage(AdminCommand):
    """A private message to the add-in that takes it."""

    arguments = [(b"name", Unicode()), (b"data", Json(optional=True))]
    response = [(b"success", Boolean()), (b"error", Json()), (b"data", Json(optional=True))]


class CollectGarbage(AdminCommand):
    """The number of objects that were collected."""

    response = [(b"collected", Integer())]


class Subscribe(AdminCommand):
    """Has events sent from now on: those in `events`, a list of names; all without it."""

    arguments = [(b"events", Json(optional=True, limit=_SMALL))]


class Unsubscribe(AdminCommand):
    """Has no events sent any more: those in `events`; all without it."""

    arguments = [(b"events", Json(optional=True, limit=_SMALL))]


class EventCommand(Command):
    """What a server tells without waiting for an answer; see `txdicom.interfaces.control.EVENTS`."""

    arguments = [(b"data", Json())]
    requiresAnswer = False  # noqa: N815 (Twisted's name)


class ClientConnected(EventCommand):
    """A peer has connected."""


class ClientAssociated(EventCommand):
    """Its association was accepted."""


class ClientAction(EventCommand):
    """It has asked for something."""


class ClientDisconnected(EventCommand):
    """It is gone."""


class AeTitlesChanged(EventCommand):
    """AE titles were changed."""


class SettingsChanged(EventCommand):
    """Settings have changed."""


class ServiceShuttingDown(EventCommand):
    """The server begins to stop."""


class Refused(EventCommand):
    """The server has as many administrators as it may (admin_connections), and closes the link; `data` says it."""


EVENT_COMMANDS: dict[str, Any] = {
    command.__name__: command
    for command in (
        ClientConnected,
        ClientAssociated,
        ClientAction,
        ClientDisconnected,
        AeTitlesChanged,
        SettingsChanged,
        ServiceShuttingDown,
    )
}
