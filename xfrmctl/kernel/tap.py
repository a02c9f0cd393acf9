"""Captures on devices of this host, with tcpdump: it knows the kernel's ring buffer and how to give up its rights."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO, BinaryIO

from xfrmctl.model.errors import XfrmctlError

SNAPSHOT_BYTES = 256
"""Room for IPv6, TCP with all options, and what ICMP quotes of them."""

_END_S = 10.0


class TapError(XfrmctlError):
    """A device cannot be captured; the message says why and what helps."""


def capture(devices: Sequence[str], seconds: float, expression: str = "") -> list[BinaryIO]:
    """Capture on all devices at once; gives the files, rewound. Ctrl-C ends it early.

    ``expression`` is tcpdump's filter. Raises TapError.
    """
    with ExitStack() as stack:
        files: list[BinaryIO] = [stack.enter_context(tempfile.TemporaryFile("w+b")) for _ in devices]
        with ExitStack() as running:
            for device, file in zip(devices, files, strict=True):
                running.enter_context(_tcpdump(device, file, expression))
            with suppress(KeyboardInterrupt):
                time.sleep(seconds)
        for file in files:
            file.seek(0)
        stack.pop_all()
        return files


@contextmanager
def _tcpdump(device: str, file: BinaryIO, expression: str) -> Iterator[None]:
    argv = ["tcpdump", "-i", device, "-w", "-", "-U", "-n", "-s", str(SNAPSHOT_BYTES), "--immediate-mode"]
    argv += ["--", expression] if expression else []
    try:
        process = subprocess.Popen(argv, stdout=file, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        raise TapError("tcpdump is not installed: install the package tcpdump, or name two capture files") from None
    try:
        assert process.stderr is not None
        _wait_until_it_listens(device, process.stderr)
        yield
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_until_it_listens(device: str, said: IO[bytes]) -> None:
    lines = []
    while line := said.readline().decode(errors="replace").strip():
        if "listening on" in line:
            return
        lines.append(line)
    reason = lines[-1].removeprefix("tcpdump: ") if lines else "tcpdump ended"
    raise TapError(f"{reason} (root or CAP_NET_RAW is needed; ip link shows the devices)")
