"""The names of another exporter, so that dashboards and alerts made for it go on working.

The one that is met most beside strongSwan is ipsec_exporter by Sergey Makinen (github.com/sergeymakinen/ipsec_exporter,
and its forks): series of each SA, with addresses, identities and a number of the SA as labels. So they come and go with
every rekey, and their counters begin anew; ours do not. Off by default, ``gateway.metrics_compat`` turns it on.

What we have no counterpart of is left out: worker threads, job queues, address pools. A connection that is down has no
series, as there.
"""

from collections.abc import Iterator

from xfrmctl.metrics.family import Family, gauge
from xfrmctl.metrics.page import Page
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo, Snapshot

IKE = ("name", "uid", "version", "local_host", "local_id", "remote_host", "remote_id", "remote_identity", "vips")
CHILD = (*(f"ike_sa_{label}" for label in IKE), "name", "uid", "reqid", "mode", "protocol", "local_ts", "remote_ts")


def _same(name: str, help_: str, ours: str, *labels: str) -> Family:
    return gauge(f"ipsec_{name}", help_, f"Ours is `{ours}`.", *labels)


UP = _same("up", "Was the last scrape successful.", "up")
UPTIME = _same("uptime_seconds", "Number of seconds since the daemon started.", "xfrmctl_start_time_seconds")
IKE_SAS = _same("ike_sas", "Number of currently registered IKE SAs.", "xfrmctl_ike_sas")
HALF_OPEN = _same("half_open_ike_sas", "Number of IKE SAs in half-open state.", "xfrmctl_half_open_ike_sas")
IKE_STATE = _same("ike_sa_state", "IKE SA state: 1 connecting, 2 established, 5 rekeyed, 6 deleting.",
                  "xfrmctl_connection_up", *IKE)  # fmt: skip
IKE_AGE = _same("ike_sa_established_seconds", "Number of seconds since the IKE SA has been established.",
                "xfrmctl_ike_sa_age_seconds", *IKE)  # fmt: skip
STATE = _same("child_sa_state", "Child SA state: 3 installed.", "xfrmctl_child_up", *CHILD)
AGE = _same("child_sa_installed_seconds", "Number of seconds since the child SA has been installed.",
            "xfrmctl_child_sa_age_seconds", *CHILD)  # fmt: skip
BYTES_IN = _same("child_sa_bytes_in", "Number of input bytes processed.", "xfrmctl_child_bytes_total", *CHILD)
BYTES_OUT = _same("child_sa_bytes_out", "Number of output bytes processed.", "xfrmctl_child_bytes_total", *CHILD)
PACKETS_IN = _same("child_sa_packets_in", "Number of input packets processed.", "xfrmctl_child_packets_total", *CHILD)
PACKETS_OUT = _same(
    "child_sa_packets_out", "Number of output packets processed.", "xfrmctl_child_packets_total", *CHILD
)
FAMILIES = (
    UP, UPTIME, IKE_SAS, HALF_OPEN, IKE_STATE, IKE_AGE, STATE, AGE, BYTES_IN, BYTES_OUT, PACKETS_IN, PACKETS_OUT,
)  # fmt: skip

CONNECTING, ESTABLISHED, INSTALLED = 1, 2, 3
_STATES = {"established": ESTABLISHED, "rekeyed": 5, "deleting": 6}
_KINDS = ("fqdn:", "email:", "dn:")


def gateway(snapshot: Snapshot, ike_sas: int, page: Page) -> None:
    """What is about the daemon as a whole."""
    page.put(UP, (), 1)
    page.put(UPTIME, (), snapshot.uptime_s)
    page.put(IKE_SAS, (), ike_sas)
    page.put(HALF_OPEN, (), snapshot.half_open)


def show(connection: ConnectionInfo, page: Page) -> Iterator[None]:
    """Every SA of a connection. In steps."""
    protocols = {child.name: child.protection.upper() for child in connection.children}
    for ike in connection.ike_sas:
        labels = _ike(connection.name, ike)
        page.put(IKE_STATE, labels, _STATES.get(ike.state, CONNECTING))
        if ike.state == "established":
            page.put(IKE_AGE, labels, ike.age_s)
        yield
        for child in ike.children:
            _child((*labels, *_of_child(child, protocols.get(child.name, ""))), child, page)
            yield


def _ike(name: str, ike: IkeInfo) -> tuple[str, ...]:
    hosts = [end.rpartition(":")[0].strip("[]") for end in (ike.local, ike.remote)]
    ids = [_bare(identity) for identity in (ike.local_id, ike.remote_id)]
    return (name, ike.name.rpartition("#")[2], "2", hosts[0], ids[0], hosts[1], ids[1], "", "")


def _bare(identity: str) -> str:
    """strongSwan writes identities without their kind."""
    kind = next((kind for kind in _KINDS if identity.startswith(kind)), "")
    return identity.removeprefix(kind)


def _of_child(child: ChildInfo, protocol: str) -> tuple[str, ...]:
    """Its SPI stands for the number that strongSwan counts its CHILD SAs by."""
    selectors = ", ".join(child.local_ts), ", ".join(child.remote_ts)
    return (child.name, str(int(child.inbound.spi, 16)), str(child.reqid), child.mode.upper(), protocol, *selectors)


def _child(labels: tuple[str, ...], child: ChildInfo, page: Page) -> None:
    page.put(STATE, labels, INSTALLED)
    page.put(AGE, labels, child.established_s)
    for bytes_, packets, sa in ((BYTES_IN, PACKETS_IN, child.inbound), (BYTES_OUT, PACKETS_OUT, child.outbound)):
        page.put(bytes_, labels, sa.bytes)
        page.put(packets, labels, sa.packets)
