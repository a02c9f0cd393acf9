"""Counters fed from the event stream: what happened, as often as it happened."""

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from xfrmctl.model.events import (
    ChildSaInstalled,
    ChildSaRemoved,
    CookieDemanded,
    DatagramDropped,
    Event,
    IcmpErrorJudged,
    IkeSaClosed,
    IkeSaEstablished,
    KernelDisturbed,
    MessageReceived,
    MessageSent,
    NegotiationFailed,
    PathChanged,
    PathMtuChanged,
    PathMtuHinted,
    PathProbed,
    PeerMoved,
    PeerSilent,
    RetryScheduled,
)
from xfrmctl.model.iana import ExchangeType

HANDSHAKE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
MAX_REASONS = 64
"""Reasons for dropped datagrams are a small fixed set; should one slip in from outside, it ends here."""


class EventCounters:
    """Counters in ``registry``; ``observe`` every event once."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._reasons: set[str] = set()
        self._by_exchange: dict[tuple[str, ExchangeType], Counter] = {}
        self.failures = Counter(
            "xfrmctl_negotiation_failures",
            "Negotiations that ended without an SA, by reason; connection is empty for an unknown peer.",
            ("connection", "code"),
            registry=registry,
        )
        self.established = Counter(
            "xfrmctl_ike_sas_established", "IKE SAs established.", ("connection",), registry=registry
        )
        self.closed = Counter(
            "xfrmctl_ike_sas_closed", "IKE SAs ended, by reason.", ("connection", "code"), registry=registry
        )
        self.children_installed = Counter(
            "xfrmctl_child_sas_installed", "CHILD SAs installed.", ("connection",), registry=registry
        )
        self.children_removed = Counter(
            "xfrmctl_child_sas_removed", "CHILD SAs ended, by reason.", ("connection", "code"), registry=registry
        )
        self.messages = Counter(
            "xfrmctl_ike_messages",
            "IKE messages, retransmissions included.",
            ("direction", "exchange"),
            registry=registry,
        )
        self.retransmissions = Counter(
            "xfrmctl_retransmissions", "IKE messages sent again.", ("connection",), registry=registry
        )
        self.dropped = Counter(
            "xfrmctl_datagrams_dropped", "Datagrams thrown away, by reason.", ("reason",), registry=registry
        )
        self.cookies = Counter(
            "xfrmctl_cookies_demanded", "Initiators asked for a cookie (RFC 7296 2.6).", registry=registry
        )
        self.silent = Counter(
            "xfrmctl_peer_silent",
            "Requests that went unanswered through all their retransmissions.",
            ("connection",),
            registry=registry,
        )
        self.moves = Counter(
            "xfrmctl_path_changes",
            "Times that an IKE SA and its children went over to other addresses or ports.",
            ("connection",),
            registry=registry,
        )
        self.retries = Counter(
            "xfrmctl_retries_scheduled", "Negotiations put off to a later try.", ("connection",), registry=registry
        )
        self.path_changes = Counter(
            "xfrmctl_path_mtu_changes", "Changes of what a path is believed to carry.", ("reason",), registry=registry
        )
        self.disturbances = Counter(
            "xfrmctl_kernel_disturbances",
            "Times that another program was found to have removed or shadowed what is ours in the kernel; mended.",
            registry=registry,
        )
        self.path_hints = Counter(
            "xfrmctl_path_mtu_errors",
            "Validated ICMP errors about a path's MTU, by what they did.",
            ("verdict",),
            registry=registry,
        )
        self.icmp_errors = Counter(
            "xfrmctl_icmp_errors_judged",
            "ICMP errors about the path to a peer, by verdict (accepted, dropped), reason and IP version.",
            ("verdict", "reason", "family"),
            registry=registry,
        )
        self.path_probes = Counter(
            "xfrmctl_path_mtu_probes", "Probes of a path's MTU, by outcome.", ("outcome",), registry=registry
        )
        self.handshakes = Histogram(
            "xfrmctl_handshake_duration_seconds",
            "Time from the first message of a handshake to the established IKE SA.",
            ("role",),
            buckets=HANDSHAKE_BUCKETS_S,
            registry=registry,
        )

    def observe(self, event: Event) -> None:
        """Count one event; events nobody counts are ignored."""
        match event:
            case MessageSent():
                self._messages("out", event.exchange).inc()
                if event.attempt > 1:
                    self.retransmissions.labels(event.connection).inc()
            case MessageReceived():
                self._messages("in", event.exchange).inc()
            case DatagramDropped():
                self.dropped.labels(self._reason(event.reason)).inc()
            case NegotiationFailed():
                self.failures.labels(event.connection, event.failure.code.value).inc()
            case IkeSaEstablished():
                self.established.labels(event.connection).inc()
                self.handshakes.labels("initiator" if event.initiator else "responder").observe(event.handshake_s)
            case IkeSaClosed():
                self.closed.labels(event.connection, event.reason.code.value).inc()
            case ChildSaInstalled():
                self.children_installed.labels(event.connection).inc()
            case ChildSaRemoved():
                self.children_removed.labels(event.connection, event.reason.code.value).inc()
            case CookieDemanded():
                self.cookies.inc()
            case IcmpErrorJudged():
                verdict = "accepted" if event.accepted else "dropped"
                self.icmp_errors.labels(verdict, event.reason, str(event.family)).inc()
            case PeerSilent():
                self.silent.labels(event.connection).inc()
            case PathChanged() | PeerMoved():
                self.moves.labels(event.connection).inc()
            case RetryScheduled():
                self.retries.labels(event.connection).inc()
            case PathMtuChanged():
                self.path_changes.labels(event.reason.replace(" ", "_")).inc()
            case KernelDisturbed():
                self.disturbances.inc()
            case PathMtuHinted():
                self.path_hints.labels(event.verdict).inc()
            case PathProbed():
                self.path_probes.labels(event.outcome.value).inc()

    def _messages(self, direction: str, exchange: ExchangeType) -> Counter:
        """Every message passes here; looking its labels up costs more than counting it."""
        found = self._by_exchange.get((direction, exchange))
        if found is None:
            if not exchange.is_known:
                return self.messages.labels(direction, "other")
            found = self._by_exchange[direction, exchange] = self.messages.labels(direction, exchange.name.lower())
        return found

    def _reason(self, reason: str) -> str:
        if reason not in self._reasons:
            if len(self._reasons) >= MAX_REASONS:
                return "other"
            self._reasons.add(reason)
        return reason
