"""Families about connections, and about the paths to their peers. Every *configured* one has its series, up or down."""

from xfrmctl.metrics.accumulate import Accumulator
from xfrmctl.metrics.family import counter, gauge, info
from xfrmctl.metrics.page import Page
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo, PathInfo

CONNECTION = ("connection",)
UP = gauge(
    "xfrmctl_connection_up",
    "1 while the IKE SA and all children that should be up are up.",
    "0: `xfrmctl show CONNECTION` tells the state and the last failure, `xfrmctl diagnose CONNECTION` the cause and the"
    " cure for both ends.",
    *CONNECTION,
)
STATE = info(
    "xfrmctl_connection_state",
    "The state of a connection in a word: up, partial, connecting, waiting (for the next try), trap (for the first"
    " packet), down.",
    "partial: a child is missing; waiting for long: every attempt fails.",
    *CONNECTION,
    "state",
)
IKE_SAS = gauge(
    "xfrmctl_ike_sas",
    "IKE SAs of a connection, half-open ones among them.",
    "More than one to a configured peer for longer than a rekey: both ends have made one; see `unique`.",
    *CONNECTION,
)
IKE_AGE = gauge(
    "xfrmctl_ike_sa_age_seconds",
    "Age of a connection's oldest IKE SA.",
    "Beyond `ike.rekey`: rekeys fail; look at xfrmctl_negotiation_failures_total.",
    *CONNECTION,
)
IKE_HEARD = gauge(
    "xfrmctl_ike_sa_last_heard_seconds",
    "Time since the newest IKE SA's peer was last heard.",
    "Beyond twice `ike.dpd`: the peer answers late or not at all.",
    *CONNECTION,
)
IKE_INFO = info(
    "xfrmctl_ike_sa",
    "Suite of the newest IKE SA of a connection with a configured peer, and where a NAT is: none, local, remote, both.",
    "Shows which peers still use an old suite, and whose ESP goes in UDP.",
    *CONNECTION,
    "suite",
    "nat",
)
ATTEMPTS = gauge(
    "xfrmctl_connection_attempts",
    "Attempts to negotiate since the last success.",
    "Growing: the connection does not come up; see its last failure.",
    *CONNECTION,
)
RETRY_IN = gauge(
    "xfrmctl_connection_retry_in_seconds",
    "Time to the next attempt of a connection that waits for it.",
    "`xfrmctl up CONNECTION` tries at once.",
    *CONNECTION,
)
LAST_FAILURE = gauge(
    "xfrmctl_connection_last_failure_timestamp_seconds",
    "When a negotiation or an SA of the connection last failed, by reason, seconds since the epoch.",
    "The reason is a word of `xfrmctl show`, which tells cause and cure.",
    *CONNECTION,
    "code",
)
CERTIFICATE = gauge(
    "xfrmctl_certificate_expires_timestamp_seconds",
    "When our certificate of the connection expires, seconds since the epoch.",
    "Less than some weeks away: get a new one, put it in place and reload; a peer refuses an expired one.",
    *CONNECTION,
)
PEERS = gauge(
    "xfrmctl_connection_peers",
    "Peers of a connection that serves whoever comes with the right proof.",
    "Fewer than usual: peers have lost their way to us, or their proof has expired.",
    *CONNECTION,
)

PATH_MTU = gauge(
    "xfrmctl_path_mtu_bytes",
    "Largest outer IP packet that the path to the peer is believed to carry.",
    "A fall is a narrower path: `xfrmctl mtu CONNECTION` tells who says so and what follows from it.",
    *CONNECTION,
)
PATH_INFO = info(
    "xfrmctl_path_mtu",
    "By whose word the path MTU is what it is (source, confidence), what the search does (state), and what probes go"
    " in (carrier): udp (with UDP encapsulation ESP's own way), esp, or none.",
    "confidence assumed for long: the peer answers no probes.",
    *CONNECTION,
    "source",
    "confidence",
    "state",
    "carrier",
)
PATH_AGE = gauge(
    "xfrmctl_path_mtu_age_seconds",
    "Age of what is believed of the path.",
    "With traffic and probing on it stays below `path_mtu.aging`; else nobody confirms it.",
    *CONNECTION,
)
PATH_LINK = gauge(
    "xfrmctl_path_link_mtu_bytes",
    "What the first link to the peer carries; no path carries more.",
    "Above the path MTU: a link further on is narrower.",
    *CONNECTION,
)
PATH_PEER = gauge(
    "xfrmctl_path_peer_mtu_bytes",
    "What a peer of ours takes the other direction to carry.",
    "Another than ours: the two directions take different ways.",
    *CONNECTION,
)
PATH_PROBES = counter(
    "xfrmctl_path_probes",
    "Probes of the connection's path: sent, answered, lost.",
    "Lost ones are how a search finds its limit; all of them lost: the peer does not answer, or the path is dead.",
    *CONNECTION,
    "outcome",
)

FAMILIES = (
    UP, STATE, IKE_SAS, IKE_AGE, IKE_HEARD, IKE_INFO, ATTEMPTS, RETRY_IN, LAST_FAILURE, CERTIFICATE, PEERS, PATH_MTU,
    PATH_INFO, PATH_AGE, PATH_LINK, PATH_PEER, PATH_PROBES,
)  # fmt: skip

OUTCOMES = ("sent", "answered", "lost")
PROBES = "probes"


def show(connection: ConnectionInfo, newest: dict[str, ChildInfo], totals: Accumulator, page: Page) -> None:
    """Put one connection on a page; ``newest`` are its youngest CHILD SAs by child."""
    key = (connection.name,)
    page.put(UP, key, connection.state == "up")
    page.put(STATE, (*key, connection.state), 1)
    page.put(IKE_SAS, key, len(connection.ike_sas))
    page.put(ATTEMPTS, key, connection.attempts)
    if connection.retry_in_s is not None:
        page.put(RETRY_IN, key, connection.retry_in_s)
    if connection.last_failure is not None:
        page.put(LAST_FAILURE, (*key, connection.last_failure.code), connection.last_failure.at)
    if connection.certificate_expires_at is not None:
        page.put(CERTIFICATE, key, connection.certificate_expires_at)
    if connection.peers is not None:
        page.put(PEERS, key, connection.peers)
    if connection.ike_sas:
        page.put(IKE_AGE, key, connection.ike_sas[0].age_s)
        _newest_ike(connection, connection.ike_sas[-1], page)
    # Children of one connection share the path of its newest IKE SA.
    known = (c.mtu.path for c in newest.values() if c.mtu is not None and c.mtu.path is not None)
    path = next(known, None) if connection.peers is None else None
    if path is not None:
        _path(key, path, page)
        for outcome, count in zip(OUTCOMES, (path.probes_sent, path.probes_answered, path.probes_lost), strict=True):
            totals.update([((PROBES, connection.name, outcome), path.path, count)])
    if connection.peers is None:
        for outcome in OUTCOMES:
            page.put(PATH_PROBES, (*key, outcome), totals.total((PROBES, connection.name, outcome)))


def _newest_ike(connection: ConnectionInfo, ike: IkeInfo, page: Page) -> None:
    page.put(IKE_HEARD, (connection.name,), ike.last_seen_s)
    if connection.peers is None and ike.suite is not None:
        page.put(IKE_INFO, (connection.name, ike.suite, _NAT[ike.nat_local, ike.nat_remote]), 1)


_NAT = {(False, False): "none", (True, False): "local", (False, True): "remote", (True, True): "both"}


def _path(key: tuple[str], path: PathInfo, page: Page) -> None:
    page.put(PATH_MTU, key, path.mtu)
    carrier = path.carrier.partition(" ")[0].rstrip(",")
    page.put(PATH_INFO, (*key, path.source, path.confidence, path.state, carrier), 1)
    page.put(PATH_AGE, key, path.age_s)
    page.put(PATH_LINK, key, path.link_mtu)
    if path.peer_mtu is not None:
        page.put(PATH_PEER, key, path.peer_mtu)
