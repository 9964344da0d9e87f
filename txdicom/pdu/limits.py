"""How much a peer may make us read: every length and count of a PDU has a bound, checked before anything is kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on received PDUs. Lengths are in bytes and leave out the six bytes of type, reserved and PDU-length.

    A PDU past one of them is answered with A-ABORT, reason 6 (invalid PDU parameter value).
    """

    #: an A-ASSOCIATE-RQ or -AC, and every other PDU but P-DATA-TF
    max_associate: int = 1 << 20
    #: a P-DATA-TF: the maximum length we announced (PS3.8 D.1) and whatever tolerance the caller adds
    max_pdata: int = 131_072
    #: items of one A-ASSOCIATE-RQ or -AC
    max_items: int = 512
    #: presentation context items among them; there are 128 odd identifiers (PS3.8 Table 9-13)
    max_contexts: int = 128
    #: transfer syntax sub-items of one presentation context
    max_transfer_syntaxes: int = 128
    #: sub-items of one item (user information, or a presentation context)
    max_sub_items: int = 2_048
    #: related general SOP classes of one SOP class (PS3.7 Table D.3-13)
    max_related: int = 128
    #: deviations reported of one PDU; more are read alike, but not reported
    max_deviations: int = 64


#: the bounds that apply where nothing else is said
DEFAULT: Final = Limits()
