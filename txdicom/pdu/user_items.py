"""The user information item's sub-items, both ways (PS3.8 Annex D.1, PS3.7 D.3.3).

What a requestor and an acceptor send differs in the user identity, and in the common extended negotiation, which has no
answer; `requestor` tells whose item it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from txdicom.errors import LocalProtocolError
from txdicom.pdu.fields import Cursor, counted, echo, invalid, item, name, number, shown, uid, unknown_items
from txdicom.pdu.types import (
    AsyncOperationsWindow,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    ItemType,
    RoleSelection,
    UnknownItem,
    UserIdentityAC,
    UserIdentityRQ,
    UserInformation,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from txdicom.pdu.fields import Reading

_USER_NAME_AND_PASSCODE = 2
_LAST_IDENTITY_KIND = 5
_VERSION_NAME_LENGTH = 16


# -- reading -----------------------------------------------------------------------------------------------------------


class _Reader:
    """Collects one user information item. Of a sub-item that may come once only the first counts."""

    def __init__(self, reading: Reading, *, requestor: bool) -> None:
        self._reading = reading
        self._requestor = requestor
        self._max_length: int | None = None
        self._class_uid: str | None = None
        self._version_name: str | None = None
        self._window: AsyncOperationsWindow | None = None
        self._roles: dict[str, RoleSelection] = {}
        self._extended: dict[str, ExtendedNegotiation] = {}
        self._common: dict[str, CommonExtendedNegotiation] = {}
        self._identity: UserIdentityRQ | UserIdentityAC | None = None
        self._unknown: list[UnknownItem] = []

    def read(self, view: memoryview) -> UserInformation:
        for kind, version, data in self._reading.items(view, self._reading.limits.max_sub_items, "user information"):
            reader = _READERS.get(kind)
            if reader is None:
                self._reading.note(f"user information: sub-item of the unknown type {kind:02X}H skipped")
                self._skip(kind, data)
            else:
                reader(self, kind, version, data)
        return self._result()

    def _result(self) -> UserInformation:
        if self._max_length is None:
            self._reading.note("user information: no maximum length; taken for unlimited")
        if not self._class_uid:
            self._reading.note("user information: no implementation class UID")
        return UserInformation(
            self._max_length or 0,
            self._class_uid or "",
            self._version_name or "",
            self._window,
            tuple(self._roles.values()),
            tuple(self._extended.values()),
            tuple(self._common.values()),
            self._identity,
            tuple(self._unknown),
        )

    def _skip(self, kind: int, data: memoryview) -> None:
        self._unknown.append(UnknownItem(kind, bytes(data)))

    def _first(self, earlier: object, what: str) -> bool:
        """Whether this one counts: no `earlier` one was sent."""
        if earlier is not None:
            self._reading.note(f"{what}: sent more than once; the first counts")
        return earlier is None

    def max_length(self, _kind: int, _version: int, data: memoryview) -> None:
        what = "maximum length"
        cursor = Cursor(data, what)
        value = cursor.number(4)
        self._reading.end(cursor, what)
        if self._first(self._max_length, what):
            self._max_length = value

    def class_uid(self, _kind: int, _version: int, data: memoryview) -> None:
        what = "implementation class UID"
        if self._first(self._class_uid, what):
            # only ever shown, so no length of it is worth an association
            self._class_uid = self._reading.uid(data, what, any_length=True)

    def window(self, _kind: int, _version: int, data: memoryview) -> None:
        what = "asynchronous operations window"
        cursor = Cursor(data, what)
        window = AsyncOperationsWindow(cursor.number(2), cursor.number(2))
        self._reading.end(cursor, what)
        if self._first(self._window, what):
            self._window = window

    def role(self, _kind: int, _version: int, data: memoryview) -> None:
        what = "role selection"
        cursor = Cursor(data, what)
        sop_class = self._sop_class(cursor, what)
        scu = self._reading.flag(cursor.number(1), f"{what}, SCU role")
        scp = self._reading.flag(cursor.number(1), f"{what}, SCP role")
        self._reading.end(cursor, what)
        if self._first(self._roles.get(sop_class), what):
            self._roles[sop_class] = RoleSelection(sop_class, scu, scp)

    def version_name(self, _kind: int, _version: int, data: memoryview) -> None:
        what = "implementation version name"
        text = self._reading.text(data, what)
        if not 1 <= len(text) <= _VERSION_NAME_LENGTH:
            self._reading.note(f"{what}: {shown(text)} has {len(text)} characters, not 1 to {_VERSION_NAME_LENGTH}")
        if self._first(self._version_name, what):
            self._version_name = text

    def extended(self, _kind: int, _version: int, data: memoryview) -> None:
        what = "SOP class extended negotiation"
        cursor = Cursor(data, what)
        sop_class = self._sop_class(cursor, what)
        if self._first(self._extended.get(sop_class), what):
            self._extended[sop_class] = ExtendedNegotiation(sop_class, bytes(cursor.rest()))

    def common(self, _kind: int, version: int, data: memoryview) -> None:
        what = "SOP class common extended negotiation"
        if not self._requestor:
            self._reading.note(f"{what}: sent by an acceptor")
        cursor = Cursor(data, what)
        sop_class = self._sop_class(cursor, what)
        service_class = self._reading.uid(cursor.take(cursor.number(2)), f"{what}, service class")
        related = self._related(cursor, what)
        if version == 0:  # a later version may add fields here (PS3.7 Table D.3-12)
            self._reading.end(cursor, what)
        if self._first(self._common.get(sop_class), what):
            self._common[sop_class] = CommonExtendedNegotiation(sop_class, service_class, related)

    def _related(self, cursor: Cursor, what: str) -> tuple[str, ...]:
        """The related general SOP classes (PS3.7 Table D.3-13)."""
        if not cursor.left:
            self._reading.note(f"{what}: no related general SOP class identification")
            return ()
        pairs = Cursor(cursor.take(cursor.number(2)), what)
        related: list[str] = []
        while pairs.left:
            if len(related) == self._reading.limits.max_related:
                raise invalid(f"{what}: more than {len(related)} related general SOP classes")
            related.append(self._reading.uid(pairs.take(pairs.number(2)), f"{what}, related general SOP class"))
        return tuple(related)

    def identity_rq(self, kind: int, _version: int, data: memoryview) -> None:
        if not self._requestor:
            self._misplaced(kind, data)
            return
        what = "user identity"
        cursor = Cursor(data, what)
        type_ = cursor.number(1)
        if not 1 <= type_ <= _LAST_IDENTITY_KIND:
            self._reading.note(f"{what}: the unknown type {type_}")
        response_requested = self._reading.flag(cursor.number(1), f"{what}, positive response requested")
        primary = bytes(cursor.take(cursor.number(2)))
        if cursor.left:
            secondary = bytes(cursor.take(cursor.number(2)))
        else:
            self._reading.note(f"{what}: no length of the secondary field")
            secondary = b""
        if secondary and type_ != _USER_NAME_AND_PASSCODE:
            self._reading.note(f"{what}: a secondary field with type {type_}")
        self._reading.end(cursor, what)
        if self._first(self._identity, what):
            self._identity = UserIdentityRQ(type_, primary, secondary, response_requested)

    def identity_ac(self, kind: int, _version: int, data: memoryview) -> None:
        if self._requestor:
            self._misplaced(kind, data)
            return
        what = "user identity response"
        cursor = Cursor(data, what)
        response = bytes(cursor.take(cursor.number(2)))
        self._reading.end(cursor, what)
        if self._first(self._identity, what):
            self._identity = UserIdentityAC(response)

    def _misplaced(self, kind: int, data: memoryview) -> None:
        self._reading.note(f"user information: a sub-item of type {kind:02X}H belongs to the other side; skipped")
        self._skip(kind, data)

    def _sop_class(self, cursor: Cursor, what: str) -> str:
        return self._reading.uid(cursor.take(cursor.number(2)), f"{what}, SOP class")


_READERS: Final[dict[int, Callable[[_Reader, int, int, memoryview], None]]] = {
    ItemType.MAXIMUM_LENGTH: _Reader.max_length,
    ItemType.IMPLEMENTATION_CLASS_UID: _Reader.class_uid,
    ItemType.ASYNC_OPERATIONS_WINDOW: _Reader.window,
    ItemType.ROLE_SELECTION: _Reader.role,
    ItemType.IMPLEMENTATION_VERSION_NAME: _Reader.version_name,
    ItemType.EXTENDED_NEGOTIATION: _Reader.extended,
    ItemType.COMMON_EXTENDED_NEGOTIATION: _Reader.common,
    ItemType.USER_IDENTITY_RQ: _Reader.identity_rq,
    ItemType.USER_IDENTITY_AC: _Reader.identity_ac,
}


def read_user_information(view: memoryview, reading: Reading, *, requestor: bool) -> UserInformation:
    """The content of a user information item (PS3.8 §9.3.2.3), its sub-items in any order.

    What is missing reads as 0 or "". Raises `RemoteProtocolError` for a sub-item that cannot be read.
    """
    return _Reader(reading, requestor=requestor).read(view)


# -- writing -----------------------------------------------------------------------------------------------------------


def write_user_information(user: UserInformation, *, requestor: bool) -> bytes:
    """The content of a user information item, its sub-items in ascending order as older peers expect (PS3.8 §9.3.2.3).

    Raises `LocalProtocolError` for what does not belong to a requestor or acceptor, or cannot be encoded.
    """
    parts = [
        item(ItemType.MAXIMUM_LENGTH, number(user.max_length, 4, "maximum length"), "maximum length"),
        item(
            ItemType.IMPLEMENTATION_CLASS_UID,
            uid(user.implementation_class_uid, "implementation class UID"),
            "implementation class UID",
        ),
    ]
    if user.async_window is not None:
        parts.append(_window(user.async_window))
    parts.extend(_role(role, requestor) for role in user.roles)
    if user.implementation_version_name:
        what = "implementation version name"
        text = name(user.implementation_version_name, _VERSION_NAME_LENGTH, what)
        parts.append(item(ItemType.IMPLEMENTATION_VERSION_NAME, text, what))
    parts.extend(_extended(each, requestor) for each in user.extended)
    if user.common_extended and not requestor:
        raise LocalProtocolError("an acceptor sends no SOP class common extended negotiation (PS3.7 D.3.3.6)")
    parts.extend(_common(each) for each in user.common_extended)
    if user.user_identity is not None:
        parts.append(_identity(user.user_identity, requestor))
    parts.append(unknown_items(user.unknown))
    return b"".join(parts)


def _window(window: AsyncOperationsWindow) -> bytes:
    what = "asynchronous operations window"
    content = number(window.invoked, 2, what) + number(window.performed, 2, what)
    return item(ItemType.ASYNC_OPERATIONS_WINDOW, content, what)


def _sop_class(text: str, requestor: bool, what: str) -> bytes:
    """A requestor's own choice; an acceptor repeats it."""
    return counted(uid(text, what) if requestor else echo(text, what), what)


def _role(role: RoleSelection, requestor: bool) -> bytes:
    what = "role selection"
    return item(
        ItemType.ROLE_SELECTION, _sop_class(role.sop_class, requestor, what) + bytes((role.scu, role.scp)), what
    )


def _extended(each: ExtendedNegotiation, requestor: bool) -> bytes:
    what = "SOP class extended negotiation"
    return item(ItemType.EXTENDED_NEGOTIATION, _sop_class(each.sop_class, requestor, what) + each.information, what)


def _common(each: CommonExtendedNegotiation) -> bytes:
    what = "SOP class common extended negotiation"
    related = b"".join(counted(uid(text, what), what) for text in each.related)
    content = counted(uid(each.sop_class, what), what) + counted(uid(each.service_class, what), what)
    return item(ItemType.COMMON_EXTENDED_NEGOTIATION, content + counted(related, what), what)


def _identity(identity: UserIdentityRQ | UserIdentityAC, requestor: bool) -> bytes:
    what = "user identity"
    if isinstance(identity, UserIdentityRQ) is not requestor:
        raise LocalProtocolError("a requestor sends a UserIdentityRQ, an acceptor a UserIdentityAC")
    if isinstance(identity, UserIdentityAC):
        return item(ItemType.USER_IDENTITY_AC, counted(identity.response, what), what)
    if not 1 <= identity.kind <= _LAST_IDENTITY_KIND:
        raise LocalProtocolError(f"{what}: the unknown type {identity.kind}")
    if identity.secondary and identity.kind != _USER_NAME_AND_PASSCODE:
        raise LocalProtocolError(f"{what}: a secondary field with type {identity.kind}; only a passcode goes there")
    content = bytes((identity.kind, identity.response_requested)) + counted(identity.primary, what)
    return item(ItemType.USER_IDENTITY_RQ, content + counted(identity.secondary, what), what)
