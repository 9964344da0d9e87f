"""How long a server is waited for from outside of its process."""

from __future__ import annotations

from typing import Final

#: seconds that a server has to be ready
START_TIMEOUT: Final = 90
#: seconds that it takes to end after its drain_timeout, at most
AFTER_DRAIN: Final = 20
