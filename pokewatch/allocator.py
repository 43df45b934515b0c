"""Keep freed memory for the next matrix instead of handing it back to the system each time."""

from __future__ import annotations

import ctypes
import os

# mallopt's parameters, from glibc's malloc.h; the largest threshold that glibc takes is 32 MiB.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD, KEPT = 32 * 2**20, 2**29


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed; return whether it does.

    By default glibc returns the top of its heap at once, and the system clears every page anew
    that a matrix of some hundred kilobytes touches: a third of the time of feature building, a
    tenth of an ingest. Other C libraries than glibc, and settings of the user's own in the
    environment, are left alone.
    """
    if any(name in os.environ for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = mallopt(TRIM_THRESHOLD, KEPT)
    return bool(kept and mallopt(MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD))
