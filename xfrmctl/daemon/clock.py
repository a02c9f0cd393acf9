"""Time and entropy of the real world; the core is handed both."""

import os
import time

monotonic = time.monotonic
wall = time.time


def entropy(size: int) -> bytes:
    """Random bytes from the kernel's generator."""
    return os.urandom(size)
