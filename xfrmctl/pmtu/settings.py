"""What the engine is told of a path, by configuration and by whoever can carry probes. Names in ``_s`` are seconds."""

from dataclasses import dataclass
from typing import Literal

from xfrmctl.model.address import IPAddress
from xfrmctl.pmtu.search import EVERY_SIZE, Grid

FLOOR = {4: 576, 6: 1280}
"""No report is believed below: what every IPv4 host takes (RFC 791 3.2), what every IPv6 link carries (RFC 8200 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathSettings:
    """How one path is treated.

    ``configured`` is an outer MTU that an operator has written down: it is taken as it is, and nothing is probed.
    ``aging_s`` is the age at which a belief below the link's MTU is probed upwards again (RFC 1191 6.3, RFC 4301
    8.2.2: ``aging``), None for never (``no-aging``). While traffic flows, a belief is confirmed every ``confirm_s``;
    None for only when something looks wrong. ``grid`` are the sizes that the carrier of the probes can send. Without
    ``probes`` there is nobody to ask: errors of routers and the link's MTU are all there is. Without ``relief`` a
    belief that does not hold stays in force until the search below it has ended: the kernel holds the carrier to it.
    """

    configured: int | None = None
    aging_s: float | None = 600.0
    confirm_s: float | None = 30.0
    grid: Grid = EVERY_SIZE
    probes: bool = True
    relief: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOptions:
    """The operator's choice: whether paths are probed, and the two ages of :class:`PathSettings`.

    ``echo`` is an address behind the peer that answers pings, or ``auto``: one that the peer tells.
    """

    probe: bool = True
    echo: IPAddress | Literal["auto", "off"] = "auto"
    aging_s: float | None = 600.0
    confirm_s: float | None = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """Limits of the whole engine.

    ``max_probes`` unanswered probes of one size, each of them outlived by a small copy of itself, mean that the size
    is too big (MAX_PROBES of RFC 8899 5.1.2). ``probes_per_s`` and ``burst`` bound all paths together, ``gap_s`` is the
    least time between two probes of one path. ``retry_s`` is how long a path that cannot be probed is left alone.
    A sign of loss that a probe refutes makes the next one wait, from ``suspicion_s`` doubling to ``max_suspicion_s``;
    an ICMP error that a probe refutes makes the next ones wait ``hold_s``, doubling to ``max_hold_s``.
    """

    max_probes: int = 3
    probes_per_s: float = 100.0
    burst: int = 20
    gap_s: float = 0.02
    retry_s: float = 10.0
    suspicion_s: float = 2.0
    max_suspicion_s: float = 60.0
    hold_s: float = 60.0
    max_hold_s: float = 3600.0
