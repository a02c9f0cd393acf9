"""ESP SAs and policies put in by hand: the kernel alone, without any daemon."""

from xfrmctl.lab.topology import INNER_A, INNER_B, OUTER_A, OUTER_B, Topology

_KEY = "0x000102030405060708090a0b0c0d0e0f10111213"
_AEAD = f"aead rfc4106(gcm(aes)) {_KEY} 128"


def add_tunnel(topology: Topology, *, outer: int = 4, reqid: int = 1) -> None:
    """An AES-GCM-128 tunnel between the gateways for both inner families; ``outer`` is the IP version outside."""
    which = 0 if outer == 4 else 1
    a, b = OUTER_A[which], OUTER_B[which]
    states = [
        f"xfrm state add src {src} dst {dst} proto esp spi {spi:#x} reqid {reqid} mode tunnel flag af-unspec {_AEAD}"
        for src, dst, spi in ((a, b, 0x1001), (b, a, 0x1002))
    ]
    for name, near, far, here, there in (("ga", INNER_A, INNER_B, a, b), ("gb", INNER_B, INNER_A, b, a)):
        lines = list(states)
        for mine, theirs in zip(near, far, strict=True):
            lines.append(_policy("out", mine, theirs, here, there, reqid))
            lines += [_policy(way, theirs, mine, there, here, reqid) for way in ("in", "fwd")]
        topology.ns(name).batch(lines)


def remove_tunnel(topology: Topology) -> None:
    """Remove every state and policy of both gateways."""
    for name in ("ga", "gb"):
        topology.ns(name).batch(["xfrm state flush", "xfrm policy flush"])


def _policy(way: str, src: str, dst: str, tunnel_src: str, tunnel_dst: str, reqid: int) -> str:
    template = f"tmpl src {tunnel_src} dst {tunnel_dst} proto esp reqid {reqid} mode tunnel"
    return f"xfrm policy add src {src} dst {dst} dir {way} {template}"
