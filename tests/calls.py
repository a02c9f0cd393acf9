"""What work costs, counted: a number that no machine's speed changes."""

import gc
import sys
from collections.abc import Callable


def calls(action: Callable[[], object]) -> int:
    """How many Python functions an action calls; what a collection of others' garbage calls is not its own."""
    count = 0

    def profile(_frame: object, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "call"

    collects = gc.isenabled()
    gc.disable()
    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
        if collects:
            gc.enable()
    return count
