"""The page of one connection: its IKE SAs, its children, the last hour of each."""

from xfrmctl.model.snapshot import ChildInfo, ConfiguredChild, ConnectionInfo, FailureInfo, IkeInfo, SaInfo
from xfrmctl.model.words import count, duration, rate, size
from xfrmctl.page import findings
from xfrmctl.page.frame import document, facts, footer, header, sentence, state, table, terms
from xfrmctl.page.markup import Content, Html, join, tag
from xfrmctl.page.plot import Line, figure
from xfrmctl.page.view import View

MOST_CHILDREN, MOST_SAS = 32, 64
"""Of one connection on its page; `xfrmctl show` has them all."""

COLUMNS = (
    ("Direction", None),
    ("SPI", "line"),
    ("Bytes", "number"),
    ("Packets", "number"),
    ("Dropped as replayed", "number"),
    ("Integrity failures", "number"),
    ("Rekey in", "number"),
    ("Ends in", "number"),
)


def page(view: View, connection: ConnectionInfo, path: str) -> Html:
    """The whole page."""
    peer = f"{connection.local} to {connection.remote}"
    children = connection.children[:MOST_CHILDREN]
    left = len(connection.children) - len(children)
    return document(
        f"{connection.name}: {connection.state} · {view.host}",
        header(view, connection.name, path, join(state(connection.state), f" {peer}"), home=False),
        tag(
            "main",
            tag("p", sentence(connection.meaning), class_="dim"),
            _failure(connection.last_failure, connection.retry_in_s) if connection.state != "up" else None,
            findings.section(view, connection.name),
            *(_ike(ike) for ike in connection.ike_sas[:MOST_SAS]),
            *(_child(view, connection, child) for child in children),
            tag("p", f"{left} more: xfrmctl show {connection.name}") if left else None,
        ),
        footer(view),
        refresh=view.refresh,
    )


def _failure(failure: FailureInfo | None, retry_in_s: float | None) -> Html | None:
    if failure is None:
        return None
    return tag(
        "article",
        tag("h3", tag("span", "Failed: ", class_="bad"), failure.text),
        terms(
            ("Cause", failure.cause),
            ("Cure", failure.cure),
            ("The peer said", failure.notify),
            ("We offered", ", ".join(failure.ours)),
            ("Peer offered", ", ".join(failure.theirs)),
            ("Next try", None if retry_in_s is None else f"in {duration(retry_in_s)}"),
        ),
        class_="card error",
    )


def _ike(ike: IkeInfo) -> Html:
    nat = [who for who, behind in (("we", ike.nat_local), ("the peer", ike.nat_remote)) if behind]
    return tag(
        "section",
        tag("h2", f"IKE SA {ike.name}"),
        facts(
            ("State", f"{ike.state}: {ike.meaning}"),
            ("Ends", f"{ike.local} to {ike.remote}"),
            ("Identities", f"{ike.local_id} to {ike.remote_id}"),
            ("Suite", ike.suite),
            ("SPIs", f"{ike.spi_initiator}, {ike.spi_responder}; begun by {'us' if ike.initiator else 'the peer'}"),
            ("Behind a NAT", " and ".join(nat) or "nobody"),
            ("Age", duration(ike.age_s)),
            ("Last heard of the peer", f"{duration(ike.last_seen_s)} ago"),
        ),
    )


def _child(view: View, connection: ConnectionInfo, child: ConfiguredChild) -> Html:
    points = view.history.of(connection.name, child.name)
    times = [p.at for p in points]
    traffic = [
        Line("received", "in", [p.received for p in points]),
        Line("sent", "out", [p.sent for p in points]),
    ]
    path = [Line("outer MTU", "size", [p.mtu for p in points], steps=True)]
    sas = [sa for ike in connection.ike_sas for sa in ike.children if sa.name == child.name]
    return tag(
        "section",
        tag("h2", "Child ", child.name, " ", state(child.state)),
        facts(
            ("Networks", f"{', '.join(child.local_ts)} to {', '.join(child.remote_ts)}"),
            ("Data plane", f"{child.dataplane}, {child.mode} mode"),
            ("In the kernel", child.protection),
        ),
        *(_sa(sa) for sa in sas[:MOST_SAS]),
        tag("p", f"{len(sas) - MOST_SAS} more: xfrmctl show", class_="dim") if len(sas) > MOST_SAS else None,
        tag(
            "div",
            figure("Traffic", traffic, times, rate, floor=True),
            figure("Path MTU", path, times, _bytes, floor=False),
            class_="plots",
        ),
    )


def _bytes(number: float) -> str:
    return f"{number:.0f} bytes"


def _sa(child: ChildInfo) -> Html:
    caption = f"{child.suite}, {child.encap or 'ESP'}" + (f", peer {child.peer}" if child.peer else "")
    return join(_sizes(child), table(caption, COLUMNS, [_row("in", child.inbound), _row("out", child.outbound)]))


def _sizes(child: ChildInfo) -> Html | None:
    mtu = child.mtu
    if mtu is None:
        return None
    source = mtu.source
    if mtu.path is not None:
        source += f", {mtu.path.confidence}, {duration(mtu.path.age_s)} old"
    mss = [f"{value} (IPv{family})" for family, value in ((4, mtu.mss_ipv4), (6, mtu.mss_ipv6)) if value is not None]
    return facts(
        ("Path MTU", f"{mtu.outer_mtu} bytes (source: {source})"),
        ("Largest inner packet", f"{mtu.inner_mtu} bytes, overhead {mtu.overhead}"),
        ("TCP MSS", ", ".join(mss) or "not clamped"),
        ("Interface", child.interface),
    )


def _row(name: str, sa: SaInfo) -> tuple[Content, ...]:
    return (
        name,
        join(tag("code", sa.spi), ": gone from the kernel" if sa.missing else None),
        size(sa.bytes),
        count(sa.packets),
        count(sa.replay_drops + sa.late_drops),
        count(sa.integrity_failures),
        duration(sa.soft_expires_in_s),
        duration(sa.hard_expires_in_s),
    )
