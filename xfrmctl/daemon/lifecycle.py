"""What the service manager is told (sd_notify(3)); nothing where there is none.

``READY=1`` comes when policies and sockets stand. A reload says ``RELOADING=1`` with the monotonic time, as systemd 253
and later want it for ``Type=notify-reload``, and ``READY=1`` when it is over, refused or not. A loop that turns says
``WATCHDOG=1`` three times in the time that the unit allows; one that hangs does not, and is started again.
"""

import asyncio
import functools
import os
import socket
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from xfrmctl.control.schema import ReloadResult

SIGNS_OF_LIFE = 3
"""How often in WATCHDOG_USEC: one may come late, and the next is still in time."""


S = TypeVar("S")
Reload = Callable[[S], Coroutine[Any, Any, ReloadResult]]


def notify(state: str) -> None:
    """Send lines such as ``READY=1`` to the manager that started us."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.send(state.encode())
        except OSError:
            return


def reloading(reload: Reload[S]) -> Reload[S]:
    """A reload that the manager knows of; ``systemctl status`` then tells what it has come to."""

    @functools.wraps(reload)
    async def told(daemon: S) -> ReloadResult:
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        status = "the reload has failed"
        try:
            result = await reload(daemon)
            status = f"reloaded: {result.message}" if result.ok else "reload refused, the old configuration is in force"
            return result
        finally:
            notify(f"READY=1\nSTATUS={status.splitlines()[0]}")

    return told


def interval(environment: Mapping[str, str]) -> float | None:
    """Seconds between two signs of life; None where nobody wants any from this process (sd_watchdog_enabled(3))."""
    microseconds, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6 / SIGNS_OF_LIFE


def live(loop: asyncio.AbstractEventLoop) -> None:
    """Give signs of life from now on, one for each turn of a timer of this loop."""
    every = interval(os.environ)
    if every is None:
        return

    def sign() -> None:
        notify("WATCHDOG=1")
        loop.call_later(every, sign)

    sign()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (DESIGN 3.10)."""
    try:
        import uvloop  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
