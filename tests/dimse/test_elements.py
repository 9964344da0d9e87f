"""The dictionary of command elements against pydicom's copy of PS3.7 Annex E."""

from __future__ import annotations

from pydicom._dicom_dict import DicomDictionary

from txdicom.dimse import elements
from txdicom.dimse.command import Command
from txdicom.dimse.elements import ELEMENTS, NUMBERS, RETIRED, describe

GROUP_0000 = {tag: entry for tag, entry in DicomDictionary.items() if tag <= 0xFFFF}


def test_the_elements_in_use_are_those_of_table_e_1_1() -> None:
    expected = {tag: (vr, vm, name, word) for tag, (vr, vm, name, retired, word) in GROUP_0000.items() if not retired}
    assert {number: (row.vr, row.vm, row.name, row.keyword) for number, row in ELEMENTS.items()} == expected


def test_the_retired_elements_are_those_of_table_e_2_1() -> None:
    assert {tag: name for tag, (_, _, name, retired, _) in GROUP_0000.items() if retired} == RETIRED


def test_the_elements_are_in_ascending_order() -> None:
    assert list(ELEMENTS) == sorted(ELEMENTS)


def test_every_constant_is_an_element() -> None:
    constants = {name: value for name, value in vars(elements).items() if name.isupper() and type(value) is int}
    assert set(constants.values()) == set(ELEMENTS)
    assert {name.replace("_", "") for name in constants} - {row.keyword.upper() for row in ELEMENTS.values()} == {
        "MOVEORIGINATORAETITLE"
    }


def test_every_element_but_the_group_length_has_its_property() -> None:
    assert set(NUMBERS.values()) == set(ELEMENTS) - {0}
    for attribute, number in NUMBERS.items():
        assert getattr(Command({number: "the value"}), attribute) == "the value"
        assert getattr(Command({}), attribute) is None


def test_describe() -> None:
    assert describe(0x0600) == "Move Destination (0000,0600)"
    assert describe(0x0001) == "Command Length to End (0000,0001)"
    assert describe(0x4321) == "(0000,4321)"
