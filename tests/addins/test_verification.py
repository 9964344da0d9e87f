"""txdicom.addins.verification."""

from __future__ import annotations

from tests.net.wire import echo_bytes
from tests.services.serving import Serving
from txdicom.addins.verification import VerificationAddin


def test_echo() -> None:
    serving = Serving(VerificationAddin())
    peer = serving.peer()
    peer.send(echo_bytes(1) + echo_bytes(2))
    assert peer.statuses() == [0, 0]
    peer.lose()
    assert serving.clean()
