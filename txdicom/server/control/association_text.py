"""An association as text for an administrator: who it is with, what was negotiated, what has happened. No secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from txdicom.uids import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from txdicom.net.association import Association
    from txdicom.pdu.types import AssociateRQ

#: PS3.8 Table 9-18
_RESULTS: Final = {
    0: "accepted",
    1: "user rejection",
    2: "no reason given",
    3: "abstract syntax not supported",
    4: "transfer syntaxes not supported",
}
#: PS3.7 Table D.3-14
_IDENTITIES: Final = {
    1: "user name",
    2: "user name and passcode",
    3: "Kerberos service ticket",
    4: "SAML assertion",
    5: "JSON Web Token",
}
#: those whose primary field is a name
_NAMES: Final = (1, 2)


def association_text(association: Association, address: str) -> str:
    """Several lines; what the peer sent is written so that it cannot make a line of its own."""
    return "\n".join(_lines(association, address))


def _lines(association: Association, address: str) -> Iterator[str]:
    yield f"association {association.number} from {address}"
    rq, agreement = association.request, association.agreement
    if rq is None:
        yield "no A-ASSOCIATE-RQ yet"
        return
    yield f"calling AE title: {_plain(rq.calling_ae)}"
    yield f"called AE title: {_plain(rq.called_ae)}"
    version = f" ({_plain(rq.user.implementation_version_name)})" if rq.user.implementation_version_name else ""
    yield f"implementation: {_plain(rq.user.implementation_class_uid) or 'not given'}{version}"
    yield f"maximum length it takes: {rq.user.max_length or 'no limit'}"
    identity = rq.user.user_identity
    if identity is not None:
        kind, known = getattr(identity, "kind", 0), association.user_identity
        who = "not checked"
        if known is not None:
            # what proves an identity is a secret, a name is none
            who = _plain(known.primary.decode(errors="replace")) if known.type in _NAMES else "authenticated"
        yield f"user identity: {_IDENTITIES.get(kind, f'type {kind}')}, {who}"
    if agreement is None:
        yield "not accepted yet"
    else:
        yield f"operations: {agreement.performed or 'no limit'} of its, {agreement.invoked or 'no limit'} of ours"
    yield from _contexts(association, rq)
    protocol = association.protocol
    yield (
        f"{association.messages_received} messages, {protocol.bytes_received} bytes received,"
        f" {protocol.bytes_sent} bytes sent"
    )
    if association.outcome:
        yield _plain(association.outcome)


def _contexts(association: Association, rq: AssociateRQ) -> Iterator[str]:
    answers = {one.context_id: one for one in association.answer.contexts} if association.answer is not None else {}
    yield f"presentation contexts: {len(association.contexts)} of {len(rq.contexts)} accepted"
    for proposed in rq.contexts:
        answer = answers.get(proposed.context_id)
        accepted = association.contexts.get(proposed.context_id)
        what = "not answered yet" if answer is None else _RESULTS.get(answer.result, f"result {answer.result}")
        if accepted is not None:
            roles = ", ".join(name for name, has in (("SCU", accepted.scu), ("SCP", accepted.scp)) if has)
            what = f"{name_of(accepted.transfer_syntax)}, requestor is {roles or 'neither SCU nor SCP'}"
        yield f"  {proposed.context_id:3} {_plain(name_of(proposed.abstract_syntax))}: {what}"


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text)
