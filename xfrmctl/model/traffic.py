"""What ``top`` looks at: the counters of every CHILD SA in few bytes, for one look a second at thousands of them.

Counters are those of the SAs and begin anew with each: a reader takes the difference of two looks at the same SPIs.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficRow:
    """One CHILD SA, or a configured child that has none: then the SPIs are "".

    ``state`` is the child's: up, connecting, trap, down, or what the connection waits for. ``peer`` is whose SA it is
    where a connection serves many, else the peer's address. ``integrity`` and ``replay`` are packets dropped inbound;
    ``replay`` has those that came twice and those that came too late. ``inner_mtu`` and ``mss`` (of IPv4, else of
    IPv6) are None where nothing is known or clamped; ``source`` says who has told the path MTU. ``rekeys`` are the
    configured child's since the daemon's start, ``age_s`` is the SA's.
    """

    connection: str
    child: str
    peer: str
    state: str
    spi_in: str
    spi_out: str
    bytes_in: int
    packets_in: int
    bytes_out: int
    packets_out: int
    integrity: int
    replay: int
    inner_mtu: int | None
    source: str
    mss: int | None
    rekeys: int
    age_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One look. ``at`` is seconds since the epoch, ``clock_s`` a clock that never jumps, for rates.

    ``up`` of ``configured`` connections are up, whatever the filters; ``failures`` and ``ike_rekeys`` count from the
    daemon's start over the connections that are shown. ``kernel_errors`` is the sum of xfrm_stat.
    """

    at: float
    clock_s: float
    uptime_s: float
    configured: int
    up: int
    half_open: int
    ike_sas: int
    failures: int
    ike_rekeys: int
    kernel_errors: int
    rows: list[TrafficRow]
