"""What a process of the server does to itself before and after its start, for speed."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# <malloc.h> of glibc
_M_TRIM_THRESHOLD: Final = -1
_M_TOP_PAD: Final = -2
_M_MMAP_THRESHOLD: Final = -3
_MIB: Final = 1 << 20


def tune_malloc(environment: Mapping[str, str]) -> bool:
    """Has glibc keep freed memory for the next read instead of giving it back to the system; whether it was done.

    Twisted allocates a read's buffer anew each time. Reads of 256 KiB, which bulk wants, are above glibc's first limit
    for memory of its own mapping, so that each would cost two system calls and page faults on fresh pages: a sixth of
    the time that an instance of 500 KB takes. Another C library, and one tuned from outside, are left alone.
    """
    if any(name.startswith("MALLOC_") for name in environment) or "glibc.malloc" in environment.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
        import ctypes

        mallopt = ctypes.CDLL(None).mallopt
    except (ValueError, OSError, ImportError, AttributeError):
        return False
    # 32 MiB is the most that glibc takes for the first
    values = ((_M_MMAP_THRESHOLD, 32 * _MIB), (_M_TRIM_THRESHOLD, 128 * _MIB), (_M_TOP_PAD, 8 * _MIB))
    results = [mallopt(option, value) for option, value in values]
    return results == [1, 1, 1]


def settle() -> None:
    """Takes what the start has made, modules above all, out of the garbage collector's rounds: it stays anyway.

    A full round looks at 60,000 objects otherwise: 30 ms in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
