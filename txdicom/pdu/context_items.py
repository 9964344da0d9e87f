"""Presentation context items, both ways (PS3.8 §9.3.2.2 and §9.3.3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from txdicom.errors import LocalProtocolError, RemoteProtocolError
from txdicom.pdu.fields import Cursor, Reading, echo, invalid, item, shown, uid, unexpected
from txdicom.pdu.types import ItemType, PresentationContextAC, PresentationContextRQ

if TYPE_CHECKING:
    from collections.abc import Callable

_ACCEPTANCE = 0
_LAST_RESULT = 4  # PS3.8 Table 9-18

_Context = TypeVar("_Context", PresentationContextRQ, PresentationContextAC)


# -- reading -----------------------------------------------------------------------------------------------------------


def read_contexts_rq(items: list[memoryview], reading: Reading) -> tuple[PresentationContextRQ, ...]:
    """The contexts of an A-ASSOCIATE-RQ from the contents of their items.

    Syntaxes that were not sent are "" and (). Raises `RemoteProtocolError` for what cannot be read, or two ways.
    """
    return _contexts(items, _read_rq, reading)


def read_contexts_ac(items: list[memoryview], reading: Reading) -> tuple[PresentationContextAC, ...]:
    """The contexts of an A-ASSOCIATE-AC; raises as `read_contexts_rq` does, and for one accepted without a syntax."""
    return _contexts(items, _read_ac, reading)


def _contexts(
    items: list[memoryview], read: Callable[[Cursor, int, int, Reading], _Context], reading: Reading
) -> tuple[_Context, ...]:
    """The presentation contexts. One repeated word for word does no harm; one identifier for two contexts does."""
    found: dict[int, _Context] = {}
    for data in items:
        cursor = Cursor(data, "presentation context")
        context_id, _, result, _ = cursor.take(4)
        if not context_id % 2:
            raise invalid(f"presentation context identifier {context_id} is not odd")
        context = read(cursor, context_id, result, reading)
        if found.setdefault(context_id, context) is context:
            continue
        if found[context_id] != context:
            raise invalid(f"two presentation contexts with the identifier {context_id}")
        reading.note(f"presentation context {context_id} is there twice")
    if not found:
        reading.note("no presentation contexts")
    return tuple(found.values())


def _read_rq(cursor: Cursor, context_id: int, _reserved: int, reading: Reading) -> PresentationContextRQ:
    what = f"presentation context {context_id}"
    abstract: str | None = None
    transfer: dict[str, None] = {}
    for kind, _, data in reading.items(cursor.rest(), reading.limits.max_sub_items, what):
        if kind == ItemType.ABSTRACT_SYNTAX:
            abstract = _same(
                abstract, reading.uid(data, f"{what}, abstract syntax"), f"{what}: abstract syntax", reading
            )
        elif kind == ItemType.TRANSFER_SYNTAX:
            syntax = reading.uid(data, f"{what}, transfer syntax")
            if syntax in transfer:
                reading.note(f"{what}: transfer syntax {shown(syntax)} is there twice")
            elif len(transfer) == reading.limits.max_transfer_syntaxes:
                raise invalid(f"{what}: more than {len(transfer)} transfer syntaxes")
            transfer[syntax] = None
        else:
            reading.note(f"{what}: sub-item of the unknown type {kind:02X}H skipped")
    if abstract is None:
        reading.note(f"{what}: no abstract syntax")
    if not transfer:
        reading.note(f"{what}: no transfer syntax")
    return PresentationContextRQ(context_id, abstract or "", tuple(transfer))


def _read_ac(cursor: Cursor, context_id: int, result: int, reading: Reading) -> PresentationContextAC:
    what = f"presentation context {context_id}"
    if result != _ACCEPTANCE:
        if result > _LAST_RESULT:
            reading.note(f"{what}: the unknown result {result}")
        return PresentationContextAC(context_id, result, _untested_syntax(cursor, what, reading))
    transfer: str | None = None
    for kind, _, data in reading.items(cursor.rest(), reading.limits.max_sub_items, what):
        if kind == ItemType.TRANSFER_SYNTAX:
            transfer = _same(
                transfer, reading.uid(data, f"{what}, transfer syntax"), f"{what}: transfer syntax", reading
            )
        else:
            reading.note(f"{what}: sub-item of type {kind:02X}H skipped")
    if not transfer:
        raise invalid(f"{what}: accepted without a transfer syntax")
    return PresentationContextAC(context_id, result, transfer)


def _untested_syntax(cursor: Cursor, what: str, reading: Reading) -> str:
    """The transfer syntax of a rejected context: not significant and not to be tested (PS3.8 Table 9-18)."""
    silent = Reading(reading.limits, None)
    try:
        for kind, _, data in silent.items(cursor.rest(), silent.limits.max_sub_items, what):
            if kind == ItemType.TRANSFER_SYNTAX:
                return silent.uid(data, what)
    except RemoteProtocolError:
        reading.note(f"{what}: rejected with a broken transfer syntax sub-item")
    else:
        reading.note(f"{what}: rejected without a transfer syntax sub-item")
    return ""


def _same(earlier: str | None, later: str, what: str, reading: Reading) -> str:
    """`later`, unless it contradicts an `earlier` one of which there may be one only."""
    if earlier is not None:
        if earlier != later:
            raise unexpected(f"{what}: more than one")
        reading.note(f"{what}: there twice")
    return later


# -- writing -----------------------------------------------------------------------------------------------------------


def check_ids(contexts: tuple[PresentationContextRQ, ...] | tuple[PresentationContextAC, ...]) -> None:
    """Identifiers are odd, 1 to 255, and each is used once (PS3.8 §7.1.1.13, Table 9-13)."""
    ids = [context.context_id for context in contexts]
    for context_id in ids:
        check_id(context_id)
    if len(set(ids)) != len(ids):
        raise LocalProtocolError("two presentation contexts have the same identifier")


def check_id(context_id: int) -> None:
    if not (1 <= context_id <= 255 and context_id % 2):
        raise LocalProtocolError(f"presentation context identifier {context_id} is not an odd number of 1 to 255")


def write_context_rq(context: PresentationContextRQ) -> bytes:
    if not context.transfer_syntaxes:
        raise LocalProtocolError(f"presentation context {context.context_id} proposes no transfer syntax")
    content = [
        bytes((context.context_id, 0, 0, 0)),
        item(ItemType.ABSTRACT_SYNTAX, uid(context.abstract_syntax, "abstract syntax"), "abstract syntax"),
        *(
            item(ItemType.TRANSFER_SYNTAX, uid(each, "transfer syntax"), "transfer syntax")
            for each in context.transfer_syntaxes
        ),
    ]
    return item(ItemType.PRESENTATION_CONTEXT_RQ, b"".join(content), "presentation context")


def write_context_ac(context: PresentationContextAC) -> bytes:
    if not 0 <= context.result <= _LAST_RESULT:
        raise LocalProtocolError(f"presentation context {context.context_id}: the unknown result {context.result}")
    what = "transfer syntax"
    # the sub-item is there for rejected contexts too; then its value means nothing (Table 9-18)
    syntax = echo(context.transfer_syntax, what) if context.result else uid(context.transfer_syntax, what)
    content = bytes((context.context_id, 0, context.result, 0)) + item(ItemType.TRANSFER_SYNTAX, syntax, what)
    return item(ItemType.PRESENTATION_CONTEXT_AC, content, "presentation context")
