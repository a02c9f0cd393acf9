"""Counters from two independent witnesses: the kernel's SAs, and the text of a metrics endpoint."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from xfrmctl.lab.namespace import Namespace


@dataclass(frozen=True, slots=True)
class KernelSa:
    """One ESP or AH state of the kernel, and what it has carried."""

    src: str
    dst: str
    spi: int
    bytes: int
    packets: int


def kernel_sas(namespace: Namespace) -> list[KernelSa]:
    """The ESP and AH states of a namespace, by ``ip -s xfrm state``: not by our own netlink code."""
    return parse_states(namespace.run(["ip", "-s", "xfrm", "state"]).stdout)


T = TypeVar("T")

_READINGS = 10
"""How often the witnesses are asked at most, until nothing has passed between them."""


def beside_the_kernel(namespace: Namespace, ask: Callable[[], T]) -> tuple[T, dict[int, KernelSa]]:
    """What another witness says, and what the kernel's SAs, by SPI, had counted in that same moment.

    A tunnel is never quite still: an echo that asks for the path's MTU may pass between two readings, and both are
    then made again.
    """
    for _ in range(_READINGS):
        before = kernel_sas(namespace)
        said = ask()
        if kernel_sas(namespace) == before:
            break
    return said, {sa.spi: sa for sa in before}


def parse_states(text: str) -> list[KernelSa]:
    """Read ``ip -s xfrm state``; larval states (SPI 0), which the kernel makes for a trap, are none of ours."""
    found = []
    for block in re.split(r"^(?=src )", text, flags=re.MULTILINE):
        ends = re.match(r"src (\S+) dst (\S+)", block)
        spi = re.search(r"proto (?:esp|ah) spi (0x[0-9a-f]+)", block)
        # "lifetime current:" comes after the configured limits, which end in the same words.
        current = re.search(r"lifetime current:\s+(\d+)\(bytes\), (\d+)\(packets\)", block)
        if ends and spi and current and int(spi[1], 16):
            found.append(KernelSa(ends[1], ends[2], int(spi[1], 16), int(current[1]), int(current[2])))
    return found


def sample(metrics: str, name: str, labels: Mapping[str, str]) -> float | None:
    """The value of one series in a Prometheus exposition, whatever the order of its labels."""
    for line in metrics.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if match and match[1] == name and dict(re.findall(r'(\w+)="([^"]*)"', match[2] or "")) == labels:
            return float(match[3])
    return None
