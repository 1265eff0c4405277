"""How the C library keeps memory that was given back: a process that moves gigabytes through buffers should keep it."""

from __future__ import annotations

import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST_BUFFER_BYTES = 64 << 20


def keep_freed_buffers() -> None:
    """Use freed buffers again instead of asking the kernel for zeroed pages each time.

    Of glibc's own accord every block above 128 KiB is mapped and unmapped, a page fault for each 4 KiB of it: a
    quarter of the time of a first backup (mallopt(3), M_MMAP_THRESHOLD). Elsewhere it does nothing.
    """
    if sys.platform != "linux":
        return
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_BUFFER_BYTES)
    mallopt(_TRIM_THRESHOLD, 8 * _LARGEST_BUFFER_BYTES)
    mallopt(_TOP_PAD, _LARGEST_BUFFER_BYTES // 4)
