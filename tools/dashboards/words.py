"""What labels mean, for operators who see them the first time."""

ICMP_REASONS = {
    "accepted": "it quotes a packet that we have really sent: believed",
    "no_mtu": "true, of an old router that names no MTU: the next plateau is tried",
    "not_a_peer": "about somebody who is no peer of ours: none of our business, passed on",
    "not_lower": "true, but it says nothing new",
    "below_floor": "a size that no path of today has",
    "fits": "about a packet that is not larger than the MTU that it names: a lie",
    "unknown_spi": "quotes an SPI that is not ours: forged",
    "ike": "about a packet of IKE: mostly a probe that was too large, which has its answer already",
    "sequence": "quotes a sequence number that was not sent lately: forged or stale",
    "headers": "the quoted headers are not as we write them: forged",
    "ports": "quotes other UDP ports than the tunnel has: forged",
    "protocol": "quotes a protocol in which no tunnel to this peer runs: forged",
    "not_our_address": "quotes a packet of somebody else's: forged or astray",
    "short_quote": "quotes too little to be judged",
    "fragment": "quotes a later fragment, which names no SPI",
    "may_fragment": "about a packet that routers may fragment: no reason to send it",
    "malformed": "is no ICMP error at all",
    "rate": "true by all signs, but more than five a second about one peer: dropped",
}
"""``reason`` of xfrmctl_icmp_errors_judged_total."""

XFRM_STATS = {
    "XfrmInNoStates": "inbound SPI unknown: the peer uses an SA that is gone here",
    "XfrmInStateProtoError": "decryption or integrity check failed: wrong keys or changed packets",
    "XfrmInStateSeqError": "replayed, or too late for the replay window",
    "XfrmInStateExpired": "the SA had reached its limit",
    "XfrmInNoPols": "decrypted, but no policy wants it: selectors differ",
    "XfrmInTmplMismatch": "came in clear or in the wrong SA where policy wants another",
    "XfrmInPolBlock": "a policy discards it",
    "XfrmOutPolBlock": "a policy discards it: the tunnel is down, and nothing leaves in clear",
    "XfrmOutNoStates": "no SA yet: a tunnel that is being negotiated",
    "XfrmOutStateExpired": "the SA had reached its limit",
    "XfrmOutStateSeqError": "sequence numbers have come to their end",
    "XfrmFwdHdrError": "the header of a forwarded packet could not be read",
    "XfrmAcquireError": "an acquire found nobody who negotiates",
}
"""``name`` of xfrmctl_xfrm_stat_total: those that operators meet (Documentation/networking/xfrm_proc.rst)."""


def as_table(words: dict[str, str], what: str) -> str:
    """A table in Markdown."""
    return f"| {what} | means |\n|---|---|\n" + "\n".join(f"| `{word}` | {text} |" for word, text in words.items())
