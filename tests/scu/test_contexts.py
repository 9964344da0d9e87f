from __future__ import annotations

import pytest

from tests.scu.provider import CT, EXPLICIT, IMPLICIT, JPEG, MR
from txdicom import uids
from txdicom.scu import Context, Instance
from txdicom.scu.contexts import as_context, for_instances, for_retrieval, proposed, split


def instance(sop_class: str, transfer_syntax: str) -> Instance:
    return Instance("a", sop_class, "1.2", transfer_syntax, 0, 1, 0)


def test_each_syntax_of_a_class_has_its_own_context_and_uncompressed_ones_the_default_too() -> None:
    instances = [instance(CT, EXPLICIT), instance(MR, JPEG), instance(CT, JPEG), instance(CT, EXPLICIT)]
    assert for_instances(instances) == [
        Context(CT, (EXPLICIT,)),
        Context(CT, (JPEG,)),
        Context(CT, (IMPLICIT,)),
        Context(MR, (JPEG,)),
    ]


def test_the_default_syntax_is_not_proposed_twice() -> None:
    assert for_instances([instance(CT, IMPLICIT)]) == [Context(CT, (IMPLICIT,))]


def test_a_deflated_file_can_be_sent_uncompressed() -> None:
    deflated = uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
    assert for_instances([instance(CT, deflated)]) == [Context(CT, (deflated,)), Context(CT, (IMPLICIT,))]


def test_an_association_holds_128_and_classes_stay_together() -> None:
    contexts = [Context(f"1.2.{number}", (syntax,)) for number in range(100) for syntax in (EXPLICIT, IMPLICIT, JPEG)]
    groups = split(contexts)
    assert [len(group) for group in groups] == [126, 126, 48]
    assert [context for group in groups for context in group] == contexts


def test_a_class_with_more_than_128_is_torn_apart() -> None:
    assert [len(group) for group in split([Context("1.2", (f"1.3.{n}",)) for n in range(130)])] == [128, 2]


def test_repetitions_are_dropped() -> None:
    assert split([Context(CT), Context(CT)]) == [[Context(CT)]]
    assert split([]) == []


def test_ids_are_odd_and_roles_are_named_where_we_are_the_scp() -> None:
    contexts, roles = proposed([Context(CT), Context(MR, scu=False, scp=True), Context(CT, (JPEG,))])
    assert [context.context_id for context in contexts] == [1, 3, 5]
    assert [(role.sop_class, role.scu, role.scp) for role in roles] == [(MR, False, True)]


def test_what_a_retrieval_proposes_fits_one_association() -> None:
    contexts = for_retrieval(uids.STUDY_ROOT_GET)
    assert len(contexts) == 128
    assert contexts[0] == Context(uids.STUDY_ROOT_GET)
    assert {CT, MR} < {context.abstract_syntax for context in contexts}
    assert all(context.scp and not context.scu for context in contexts[1:])


def test_a_context_is_written_in_three_ways() -> None:
    assert as_context(CT) == as_context(Context(CT)) == as_context((CT, list(uids.UNCOMPRESSED)))


@pytest.mark.parametrize("proposal", ["CT", (CT, ["explicit"]), (CT, [])])
def test_a_context_needs_uids(proposal: object) -> None:
    with pytest.raises(ValueError, match=r"is no UID|needs a transfer syntax"):
        as_context(proposal)
