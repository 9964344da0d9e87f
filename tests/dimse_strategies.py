"""Hypothesis strategies for command sets.

What they draw keeps the standard's rules, so that it can be encoded and comes back equal.
"""

from __future__ import annotations

import string
from struct import pack
from typing import Any

from hypothesis import strategies as st

from txdicom.dimse.command import NO_DATA_SET, Command, CommandField
from txdicom.dimse.elements import COMMAND_DATA_SET_TYPE, COMMAND_FIELD, ELEMENTS
from txdicom.dimse.messages import MESSAGES, DataSet

COMPONENTS = st.integers(0, 10**9).map(str)
UIDS = st.lists(COMPONENTS, min_size=1, max_size=6).map(".".join).filter(lambda uid: len(uid) <= 64)
US = st.integers(0, 0xFFFF)
FIELDS = st.sampled_from(CommandField)
TAGS = st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=8).map(tuple)

#: the default repertoire without backslash (PS3.5 §6.1.2.2)
_TEXT = string.printable[:95].replace("\\", "")


def text(longest: int) -> st.SearchStrategy[str]:
    """Text that is neither empty nor padded."""
    return st.text(_TEXT, min_size=1, max_size=longest).map(str.strip).filter(bool)


AE_TITLES = text(16)
BY_VR: dict[str, st.SearchStrategy[Any]] = {"UI": UIDS, "US": US, "AE": AE_TITLES, "LO": text(64), "AT": TAGS}
DATA_SET_TYPES = {
    DataSet.NEVER: st.just(NO_DATA_SET),
    DataSet.MAY: US,
    DataSet.MUST: US.filter(lambda kind: kind != NO_DATA_SET),
}


@st.composite
def commands(draw: st.DrawFn, fields: st.SearchStrategy[CommandField] = FIELDS) -> Command:
    """A message with everything mandatory and some of what is optional."""
    field = draw(fields)
    spec = MESSAGES[field]
    numbers = (
        spec.mandatory | draw(st.sets(st.sampled_from(sorted(spec.optional)))) if spec.optional else spec.mandatory
    )
    values = {number: draw(BY_VR[ELEMENTS[number].vr]) for number in sorted(numbers)}
    values[COMMAND_FIELD] = int(field)
    values[COMMAND_DATA_SET_TYPE] = draw(DATA_SET_TYPES[spec.data_set])
    return Command(values)


def element(number: int, content: bytes, group: int = 0) -> bytes:
    """One element as it goes over the wire."""
    return pack("<HHL", group, number, len(content)) + content


def command_set(*elements: bytes) -> bytes:
    """`elements` behind the right group length."""
    body = b"".join(elements)
    return element(0, pack("<L", len(body))) + body


#: command sets that can be walked, of any elements, in any order and with any content
WALKABLE = st.lists(st.tuples(st.sampled_from((*ELEMENTS, 0x0001, 0x4321)), st.binary(max_size=12)), max_size=12).map(
    lambda elements: b"".join(element(number, content) for number, content in elements)
)
