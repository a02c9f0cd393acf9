"""Families of what happens: counted by ``counters`` from the events of the engines and of the daemon."""

from xfrmctl.metrics.family import counter, histogram

CONNECTION = ("connection",)

FAILURES = counter(
    "xfrmctl_negotiation_failures",
    "Negotiations that ended without an SA: by our reason (code), and by the Notify that was sent or received, or none;"
    " connection is empty for an unknown peer.",
    "`xfrmctl diagnose` tells the cause and the cure for both ends; code is its finding's word.",
    *CONNECTION,
    "code",
    "notify",
)
ESTABLISHED = counter(
    "xfrmctl_ike_sas_established",
    "IKE SAs established by a handshake; rekeys are not among them.",
    "Many an hour: the connection flaps.",
    *CONNECTION,
)
CLOSED = counter(
    "xfrmctl_ike_sas_closed",
    "IKE SAs ended, by reason.",
    "rekeyed and operator are life; peer_dead and path_lost are the network.",
    *CONNECTION,
    "code",
)
INSTALLED = counter(
    "xfrmctl_child_sas_installed",
    "CHILD SAs installed, by rekeys too.",
    "Many more than the lifetimes make: a child flaps.",
    *CONNECTION,
)
REMOVED = counter(
    "xfrmctl_child_sas_removed",
    "CHILD SAs ended, by reason.",
    "lifetime_expired: a rekey has failed, and packets were lost.",
    *CONNECTION,
    "code",
)
REKEYS = counter(
    "xfrmctl_rekeys",
    "IKE SAs and CHILD SAs that got new keys (what: ike, child), by who asked for it (role).",
    "None for longer than the lifetimes: see failures.",
    *CONNECTION,
    "what",
    "role",
)
COLLISIONS = counter(
    "xfrmctl_rekey_collisions",
    "Both ends have asked for new keys of the same SA at once (RFC 7296 2.8.1); the lowest nonce decided.",
    "Harmless; often: give the two ends different lifetimes.",
    *CONNECTION,
    "what",
)
MESSAGES = counter(
    "xfrmctl_ike_messages",
    "IKE messages, retransmissions included.",
    "out without in: the peer is not reached, or does not want us.",
    "direction",
    "exchange",
)
OCTETS = counter(
    "xfrmctl_ike_bytes", "Octets of IKE messages.", "What IKE costs the path, probes included.", "direction"
)
FRAGMENTS = counter(
    "xfrmctl_ike_fragments",
    "Datagrams of IKE messages that went in fragments of IKE's own (RFC 7383).",
    "out growing and messages repeated: the path loses even these; lower `ike.fragmentation`.",
    "direction",
)
RETRANSMISSIONS = counter(
    "xfrmctl_retransmissions",
    "IKE messages sent again.",
    "Growth: loss on the way to the peer or back, or a peer without time.",
    *CONNECTION,
)
LIVENESS = counter(
    "xfrmctl_liveness_checks",
    "Questions whether the peer lives (RFC 7296 2.4, DPD): asked, answered, silent after all repetitions.",
    "asked and not answered: the peer or the path to it is down.",
    *CONNECTION,
    "outcome",
)
SILENT = counter(
    "xfrmctl_peer_silent",
    "Requests that went unanswered through all their retransmissions.",
    "The peer is dead, or UDP 500 or 4500 is blocked: `xfrmctl diagnose` tells these apart.",
    *CONNECTION,
)
MOVES = counter(
    "xfrmctl_path_changes",
    "Times that an IKE SA and its children went over to other addresses or ports.",
    "Many: a NAT forgets its mappings (shorten `ike.keepalive`), or an uplink flaps.",
    *CONNECTION,
)
RETRIES = counter(
    "xfrmctl_retries_scheduled",
    "Negotiations put off to a later try.",
    "Growth: the connection does not come up.",
    *CONNECTION,
)
DROPPED = counter(
    "xfrmctl_datagrams_dropped",
    "Datagrams on the IKE ports that were thrown away, by reason.",
    "What strangers send is dropped and counted; half_open_limit in great numbers is a flood.",
    "reason",
)
NOT_SENT = counter(
    "xfrmctl_datagrams_not_sent",
    "Datagrams that the kernel would not send.",
    "Growth: no route to a peer, or its address is not ours any more; the log tells.",
)
COOKIES = counter(
    "xfrmctl_cookies_demanded",
    "Initiators asked for a cookie (RFC 7296 2.6).",
    "Growth: many begin IKE SAs at once; honest peers come up a round trip later.",
)
PATH_CHANGES = counter(
    "xfrmctl_path_mtu_changes",
    "Changes of what a path is believed to carry, by reason; black_hole is large packets lost without a word.",
    "black_hole: somebody on the way filters ICMP; `xfrmctl diagnose` says on which side.",
    "reason",
)
PATH_ERRORS = counter(
    "xfrmctl_path_mtu_errors",
    "Validated ICMP errors about a path's MTU, by what they did.",
    "lowered is the path at work.",
    "verdict",
)
PROBE_OUTCOMES = counter(
    "xfrmctl_path_mtu_probes",
    "Probes of all paths, by how they ended.",
    "unsupported: the peer does not answer padded messages; its path is known by ICMP errors only.",
    "outcome",
)
CARRIERS_DIFFER = counter(
    "xfrmctl_path_carriers_differ",
    "Times that a size got through as IKE's UDP and not as ESP.",
    "Growth: something on the way treats ESP worse; `ike.encap: always` hides it in UDP.",
)
ICMP_ERRORS = counter(
    "xfrmctl_icmp_errors_judged",
    "ICMP errors about the path to a peer, by verdict (accepted, dropped), reason and IP version.",
    "dropped in great numbers: somebody forges them, in vain.",
    "verdict",
    "reason",
    "family",
)
DISTURBANCES = counter(
    "xfrmctl_kernel_disturbances",
    "Times that another program was found to have removed or shadowed what is ours in the kernel; mended.",
    "Growth: another firewall manager or IPsec daemon works on this host; `xfrmctl show` tells what was disturbed.",
)
TROUBLES = counter(
    "xfrmctl_kernel_troubles",
    "Times that the kernel refused something and it could not be mended.",
    "The log tells each with cause and cure.",
)
RELOADS = counter(
    "xfrmctl_config_reloads",
    "Reloads of the configuration: ok, refused.",
    "refused: see xfrmctl_config_reload_ok.",
    "result",
)
HANDSHAKES = histogram(
    "xfrmctl_handshake_duration_seconds",
    "Time from the first message of a handshake to the established IKE SA.",
    "Seconds: messages are lost and repeated, or one end has no time.",
    "role",
)
REKEY_DURATION = histogram(
    "xfrmctl_rekey_duration_seconds",
    "Time from our first request for new keys to the SA that has them in force (what: ike, child).",
    "As for handshakes; traffic goes on meanwhile.",
    "what",
)
STEPS = histogram(
    "xfrmctl_engine_step_seconds",
    "Time of one step of the daemon: one message, timer or answer of the kernel with all that follows from it.",
    "Nothing else happens within a step. Long ones delay every handshake: a busy host, or too many tunnels for it.",
)
VERDICTS = histogram(
    "xfrmctl_icmp_verdict_seconds",
    "Time from an ICMP error's leaving the NFQUEUE to its verdict.",
    "Long ones hold up other ICMP errors only, no data.",
)

COUNTERS = (
    FAILURES, ESTABLISHED, CLOSED, INSTALLED, REMOVED, REKEYS, COLLISIONS, MESSAGES, OCTETS, FRAGMENTS, RETRANSMISSIONS,
    LIVENESS, SILENT, MOVES, RETRIES, DROPPED, NOT_SENT, COOKIES, PATH_CHANGES, PATH_ERRORS, PROBE_OUTCOMES,
    CARRIERS_DIFFER, ICMP_ERRORS, DISTURBANCES, TROUBLES, RELOADS,
)  # fmt: skip
FAMILIES = (*COUNTERS, HANDSHAKES, REKEY_DURATION, STEPS, VERDICTS)

BY_CONNECTION = tuple(family for family in COUNTERS if family.labels == CONNECTION)

ROLES = ("initiator", "responder")
REKEYED = ("ike", "child")
FIRST = (
    *((MESSAGES, (way, exchange)) for way in ("in", "out") for exchange in ("ike_sa_init", "ike_auth")),
    *((family, (way,)) for family in (OCTETS, FRAGMENTS) for way in ("in", "out")),
    *((RELOADS, (result,)) for result in ("ok", "refused")),
)
"""Series that are there from the start beside those without labels: a rate begins with the second value."""
