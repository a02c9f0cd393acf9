"""What ``show`` prints on an ordinary terminal: a card for each connection, its lines cut to the width."""

import textwrap
from collections.abc import Iterator

from rich.text import Text

from xfrmctl.cli import phrases
from xfrmctl.cli.action import failure_lines
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo, PolicyInfo, Snapshot
from xfrmctl.model.words import duration, plural

COLOURS = {"up": "green", "partial": "yellow", "connecting": "yellow", "waiting": "yellow", "down": "red"}
LABEL = 6
"""Columns of ``in``, ``out``, ``life`` and their like."""


def head(snapshot: Snapshot, *, whole: bool) -> Iterator[Text]:
    """What is to be said of the gateway; with ``whole`` its own policies, too."""
    yield _headline(snapshot)
    for problem in snapshot.kernel.problems:
        yield Text(f"kernel: {problem}", style="red")
    for what in snapshot.kernel.disturbances:
        yield Text(f"kernel: put back a moment ago: {what}", style="yellow")
    for clamp in (clamp for clamp in snapshot.clamps if not clamp.standing):
        what = f"kernel: the clamp of IPv{clamp.family} to MSS {clamp.mss} is not in force:"
        who = "another program has removed or shadowed it; the next look puts it back and says what was in the way"
        yield Text(f"{what} {who}", style="red")
    if whole:
        yield from map(_policy, snapshot.policies)


def _headline(snapshot: Snapshot) -> Text:
    states = [c.state for c in snapshot.connections]
    text = Text(f"xfrmctl {snapshot.version}, up {duration(snapshot.uptime_s)}, ")
    if len(states) == snapshot.configured:
        text.append(f"{plural(len(states), 'connection')}, {states.count('up')} up")
    else:
        text.append(f"{len(states)} of {plural(snapshot.configured, 'connection')} shown, {states.count('up')} up")
    text.append(f"; {snapshot.config_file} ({snapshot.config_hash[:12]})")
    if snapshot.half_open:
        text.append(f"; {snapshot.half_open} half-open")
    if not snapshot.reload_ok:
        text.append(f"\nthe last reload failed, the old configuration is in force: {snapshot.reload_error}", "red")
    return text


def _policy(policy: PolicyInfo) -> Text:
    place = {"first": "before all children", "last": "after all children"}.get(
        policy.precedence, "the more specific first"
    )
    where = f"{' '.join(policy.local_ts)} to {' '.join(policy.remote_ts)}"
    return Text(f"{policy.name}: {policy.action} {where}, {place}")


def card(connection: ConnectionInfo, width: int) -> Iterator[Text]:
    """One connection, all that is known of it."""
    sheet = Sheet(width)
    title = Text.assemble((connection.name, "bold"), " ", state(connection), f": {connection.meaning}")
    yield title
    if not connection.ike_sas:
        yield sheet.line(2, f"{connection.local} to {connection.remote}")
    past = phrases.history(connection.history)
    if past:
        yield sheet.line(2, f"since the start: {past}")
    if connection.debug_s is not None:
        yield sheet.line(2, f"debugged for another {duration(connection.debug_s)}: see `xfrmctl events` or the log")
    for ike in connection.ike_sas:
        yield from _ike(ike, sheet)
        for child in ike.children:
            yield from _child(child, connection, sheet)
    up = {child.name for child in phrases.children(connection)}
    for configured in connection.children:
        if configured.tunnel is not None:
            yield sheet.line(2, phrases.tunnel_line(configured.tunnel))
        if configured.name not in up:
            yield sheet.line(2, f"child {configured.name}: {configured.state}, {configured.protection}")


class Sheet:
    """Lines of a terminal's width; what is too long goes on under its own beginning."""

    def __init__(self, width: int) -> None:
        self._width = max(20, width)

    def line(self, indent: int, text: str, label: str = "") -> Text:
        """``text`` behind a label, both indented."""
        first = " " * indent + (f"{label:<{LABEL}}" if label else "")
        rest = " " * (indent + (LABEL if label else 2))
        cut = textwrap.wrap(text, self._width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)
        return Text("\n".join(cut))


def _ike(ike: IkeInfo, sheet: Sheet) -> Iterator[Text]:
    began = "begun by us" if ike.initiator else "begun by the peer"
    yield sheet.line(2, f"IKE SA {ike.name}: {ike.state}, {began}, {duration(ike.age_s)} old")
    yield sheet.line(4, ike.meaning)
    extras = [] if phrases.nat(ike) == "no" else [f"NAT {phrases.nat(ike)}"]
    extras += ["MOBIKE"] if ike.mobike else []
    yield sheet.line(4, ", ".join([f"{ike.local} to {ike.remote}", *extras]))
    yield sheet.line(4, phrases.proofs(ike))
    yield sheet.line(4, f"{ike.suite or 'no suite yet'}, SPIs {ike.spi_initiator} {ike.spi_responder}")
    yield sheet.line(4, phrases.due(ike))
    doing = phrases.under_way(ike)
    if doing:
        yield sheet.line(4, doing)


def _child(child: ChildInfo, connection: ConnectionInfo, sheet: Sheet) -> Iterator[Text]:
    rekeys = next((c.rekeys for c in connection.children if c.name == child.name), 0)
    again = f", rekeyed {plural(rekeys, 'time')}" if rekeys else ""
    yield sheet.line(2, f"CHILD SA {child.name}: {child.state}, {duration(child.established_s)} old{again}")
    if child.state != "installed" or not child.meaning.startswith("both"):
        yield sheet.line(4, child.meaning)
    yield sheet.line(4, phrases.selectors(child))
    yield sheet.line(4, f"{child.suite}{phrases.how(child, ', ')}")
    yield sheet.line(4, f"{child.inbound.spi}  {phrases.traffic(child.inbound, ', ', idle=True)}", "in")
    yield sheet.line(4, f"{child.outbound.spi}  {phrases.traffic(child.outbound, ', ', idle=True)}", "out")
    yield sheet.line(4, phrases.life(child, "; "), "life")
    yield sheet.line(4, f"{phrases.mtu(child, ', ')}; MSS {phrases.mss(child)}", "MTU")
    known = phrases.path(child)
    if known:
        yield sheet.line(4, known, "path")
    if child.fragments is not None:
        yield sheet.line(4, f"{child.fragments.df}, oversize {child.fragments.oversize}", "DF")
    for text in phrases.fragments(child):
        yield sheet.line(4 + LABEL, text)
    yield sheet.line(4, f"offload {phrases.offload(child)}; {phrases.options(child)}".removesuffix("; "), "plane")


def failure(connection: ConnectionInfo, width: int) -> Iterator[Text]:
    """Why a connection is not up, and what would help."""
    sheet = Sheet(width)
    yield Text(f"{connection.name} is {connection.state}: {connection.meaning}", "bold")
    if connection.last_failure:
        for text in failure_lines(connection.last_failure):
            yield sheet.line(2, text)
    if connection.retry_in_s is not None:
        tried = f"{plural(connection.attempts, 'attempt')} so far"
        yield sheet.line(2, f"{'next try:':<13} in {duration(connection.retry_in_s)}; {tried}")


def state(connection: ConnectionInfo) -> Text:
    """The state in its colour."""
    return Text(connection.state, style=COLOURS.get(connection.state, ""))
