"""The public test kit: what the tests and examples of txdicom use, and those of add-ins and tools can.

`CorePair` is a conversation of two upper layers in memory, without a reactor.
"""

from __future__ import annotations

from txdicom.testing.cores import Core, CorePair

__all__ = ["Core", "CorePair"]
