"""The first page: how the gateway is, what is wrong, and every connection."""

from xfrmctl.model.snapshot import ConnectionInfo
from xfrmctl.model.words import count, duration, plural, rate
from xfrmctl.page import findings
from xfrmctl.page.frame import document, facts, footer, header, link, state, table
from xfrmctl.page.history import Point
from xfrmctl.page.markup import Content, Html, join, tag
from xfrmctl.page.plot import Line, figure, spark
from xfrmctl.page.view import View

ROWS = 200
"""Connections on one page."""

_ORDER = {"down": 0, "waiting": 0, "partial": 1, "connecting": 1}
"""Trouble first, then the order of the configuration."""

COLUMNS = (
    ("Connection", None),
    ("State", None),
    ("Peer", "line"),
    ("Children up", None),
    ("Path MTU", "number"),
    ("MSS", "number"),
    ("Received", "number"),
    ("Sent", "number"),
    ("Last hour", None),
)


def page(view: View) -> Html:
    """The whole page."""
    snapshot = view.snapshot
    up = sum(c.state == "up" for c in snapshot.connections)
    said = f"{up} of {plural(len(snapshot.connections), 'connection')} up"
    return document(
        f"{said} · {view.host}",
        header(view, view.host, "/", said, home=True),
        tag(
            "main", _gateway(view), _trouble(view), findings.section(view), _table(view), _traffic(view.history.total())
        ),
        footer(view),
        refresh=view.refresh,
    )


def _gateway(view: View) -> Html:
    snapshot = view.snapshot
    errors = sum(snapshot.kernel.xfrm_stat.values())
    return facts(
        ("Configuration", f"{snapshot.config_file}, {'in force' if snapshot.reload_ok else 'the last reload failed'}"),
        ("CHILD SAs", str(sum(len(ike.children) for c in snapshot.connections for ike in c.ike_sas))),
        ("Half-open IKE SAs", str(snapshot.half_open)),
        ("Packets that xfrm refused", f"{count(errors)} since boot" if errors else "none since boot"),
        ("In the kernel", f"{count(snapshot.kernel.policies)} policies, {count(snapshot.kernel.states)} SAs"),
    )


def _trouble(view: View) -> Html | None:
    """What `xfrmctl show` says of the gateway itself."""
    snapshot = view.snapshot
    told = [f"The last reload failed, the old configuration is in force: {snapshot.reload_error}"]
    told = told if not snapshot.reload_ok else []
    told += [f"The kernel: {problem}" for problem in snapshot.kernel.problems]
    told += [f"Put back a moment ago: {what}" for what in snapshot.kernel.disturbances]
    told += [f"MSS {c.mss} (IPv{c.family}) is not in force" for c in snapshot.clamps if not c.standing]
    if not told:
        return None
    return tag("div", *(tag("p", words) for words in told), class_="card error", role="alert")


def _traffic(points: list[Point]) -> Html:
    lines = [
        Line("received", "in", [p.received for p in points]),
        Line("sent", "out", [p.sent for p in points]),
    ]
    return tag(
        "section",
        tag("h2", "Traffic in tunnels", id="traffic"),
        figure("All tunnels", lines, [p.at for p in points], rate, floor=True),
        aria_labelledby="traffic",
    )


def _table(view: View) -> Html:
    ordered = sorted(view.snapshot.connections, key=lambda c: _ORDER.get(c.state, 2))
    pages = -(-len(ordered) // ROWS) or 1
    number = min(view.number, pages)
    shown = ordered[(number - 1) * ROWS : number * ROWS]
    caption = "Those with trouble come first." + (f" Page {number} of {pages}." if pages > 1 else "")
    none = tag("p", "No connection is configured yet.", class_="dim") if not ordered else None
    more = tag("nav", *(_turn(view, n, number) for n in range(1, pages + 1)), aria_label="Pages") if pages > 1 else None
    rows = table(caption, COLUMNS, [_row(view, connection) for connection in shown]) if ordered else None
    return tag("section", tag("h2", "Connections", id="connections"), none, rows, more, aria_labelledby="connections")


def _turn(view: View, number: int, here: int) -> Html:
    refresh = f"&refresh={view.refresh}" if view.refresh else ""
    words = str(number)
    if number == here:
        return tag("b", words, aria_current="page")
    return tag("a", words, href=f"/?page={number}{refresh}#connections")


def _row(view: View, connection: ConnectionInfo) -> tuple[Content, ...]:
    points = [view.history.of(connection.name, child.name) for child in connection.children]
    received, sent = _now(points, 0), _now(points, 1)
    sas = [child for ike in connection.ike_sas for child in ike.children]
    sizes = [child.mtu for child in sas if child.mtu is not None]
    mtu = min((size.outer_mtu for size in sizes), default=None)
    mss = min((m for size in sizes for m in (size.mss_ipv4, size.mss_ipv6) if m is not None), default=None)
    up = sum(child.state == "up" for child in connection.children)
    return (
        link(view, connection.name),
        join(state(connection.state), _why(connection)),
        connection.remote + (f", {connection.peers} now" if connection.peers is not None else ""),
        f"{up} of {len(connection.children)}",
        "-" if mtu is None else mtu,
        "-" if mss is None else mss,
        "-" if received is None else rate(received),
        "-" if sent is None else rate(sent),
        _spark(connection.name, points),
    )


def _why(connection: ConnectionInfo) -> Html | None:
    if connection.state == "up" or connection.last_failure is None:
        return None
    again = f"; next try in {duration(connection.retry_in_s)}" if connection.retry_in_s is not None else ""
    return tag("div", connection.last_failure.text + again, class_="dim why")


def _now(points: list[list[Point]], direction: int) -> float | None:
    """The newest rate of a connection: the sum of its children's."""
    newest = [(each[-1].received, each[-1].sent)[direction] for each in points if each]
    known = [value for value in newest if value is not None]
    return sum(known) if known else None


def _spark(name: str, points: list[list[Point]]) -> Html | None:
    """The children of a connection, added up where they have been seen together."""
    length = min((len(each) for each in points if each), default=0)
    if length < 2:
        return None
    sums: tuple[list[float | None], list[float | None]] = ([], [])
    for number in range(-length, 0):
        at = [each[number] for each in points if each]
        for found, values in zip(sums, ([p.received for p in at], [p.sent for p in at]), strict=True):
            known = [value for value in values if value is not None]
            found.append(sum(known) if known else None)
    peak = max((value for found in sums for value in found if value is not None), default=0.0)
    return spark(*sums, f"traffic of {name}, at most {rate(peak)}")
