"""The pair that demonstrations, tests and benchmarks start from: gateway A and gateway B, one tunnel between them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.topology import INNER_A, INNER_B, OUTER_B, Topology

#: The connection's and the child's name on both gateways.
CONNECTION, CHILD = "demo", "lan"
METRICS = "127.0.0.1:9877"
_PSK = "a key for the laboratory only, 32+"

_CONFIG = """\
gateway:
  metrics: {metrics}
connections:
  {connection}:
    local:  {{address: '{local}', id: 'fqdn:{local_id}'}}
    remote: {{address: '{remote}', id: 'fqdn:{remote_id}'}}
    auth:   {{psk: !file secrets/demo.psk}}
    children:
      {child}:
        local_ts:  [{local_ts}]
        remote_ts: [{remote_ts}]
        dataplane: {dataplane}
        start:     none
{extra}"""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two of our daemons that know each other; nothing is negotiated yet."""

    topology: Topology
    a: Gateway
    b: Gateway


def config(
    local: str,
    remote: str,
    names: tuple[str, str],
    nets: tuple[tuple[str, str], tuple[str, str]],
    *,
    dataplane: str = "policy",
    extra: str = "",
) -> str:
    """One gateway's configuration: addresses, names and inner networks of this end and of the other.

    ``extra`` are further lines of the child, indented as they stand in the file.
    """
    return _CONFIG.format(
        metrics=METRICS,
        connection=CONNECTION,
        child=CHILD,
        local=local,
        remote=remote,
        local_id=names[0],
        remote_id=names[1],
        local_ts=", ".join(f"'{net}'" for net in nets[0]),
        remote_ts=", ".join(f"'{net}'" for net in nets[1]),
        dataplane=dataplane,
        extra=extra,
    )


@contextmanager
def pair(topology: Topology, *, outer: int = 4, dataplane: str = "policy", extra: str = "") -> Iterator[Pair]:
    """Start both daemons; ``outer`` is the IP version between them, ``extra`` further lines of the child."""
    which = 0 if outer == 4 else 1
    here, there = topology.ga_address[which], OUTER_B[which]
    seen = topology.seen_address[which]
    files = {"secrets/demo.psk": _PSK + "\n"}
    names = ("moon.example.org", "sun.example.org")
    a = Gateway(
        topology.ns("ga"), config(here, there, names, (INNER_A, INNER_B), dataplane=dataplane, extra=extra), files=files
    )
    b = Gateway(
        topology.ns("gb"),
        config(there, seen, names[::-1], (INNER_B, INNER_A), dataplane=dataplane, extra=extra),
        files=files,
    )
    try:
        a.start(wait=False)
        b.start(wait=False)
        a.wait_ready()
        b.wait_ready()
        yield Pair(topology, a, b)
    finally:
        try:
            a.close()
        finally:
            b.close()
