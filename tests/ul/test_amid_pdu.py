"""What the upper layer says of a PDU that has come in part: even of a header nobody has been told of."""

from __future__ import annotations

from typing import Any

import pytest

from txdicom.pdu import encode
from txdicom.pdu.types import ReleaseRQ
from txdicom.ul.connection import UpperLayer

RELEASE = encode(ReleaseRQ())


class Silent:
    """Takes every effect and primitive."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: None


@pytest.mark.parametrize("count", range(1, len(RELEASE)))
def test_a_part_of_a_pdu(count: int) -> None:
    upper_layer = UpperLayer(Silent(), Silent(), requestor=False)
    upper_layer.connected()
    assert not upper_layer.amid_pdu
    upper_layer.received(RELEASE[:count])
    assert upper_layer.amid_pdu
    upper_layer.received(RELEASE[count:])
    assert not upper_layer.amid_pdu
