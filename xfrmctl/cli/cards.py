"""What ``show`` prints: two tables on a wide terminal, cards of short lines on a narrow one, then what failed."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xfrmctl.cli.action import failure_lines
from xfrmctl.cli.words import count, duration, plural, size
from xfrmctl.model.snapshot import ChildInfo, ConnectionInfo, IkeInfo, PolicyInfo, SaInfo, Snapshot, TunnelInfo

WIDE = 140
_USUAL = {"replay window 128", "DSCP outbound copy", "DSCP inbound keep", "ECN on"}
_COLOURS = {"up": "green", "partial": "yellow", "connecting": "yellow", "waiting": "yellow", "down": "red"}


def render(snapshot: Snapshot, chosen: list[ConnectionInfo], width: int) -> Iterator[RenderableType]:
    """Everything to print, for a terminal of ``width`` columns."""
    yield _headline(snapshot)
    if snapshot.kernel.problems:
        yield Text("\n".join(f"kernel: {problem}" for problem in snapshot.kernel.problems), style="red")
    if snapshot.kernel.disturbances:
        said = "\n".join(f"kernel: put back a moment ago: {what}" for what in snapshot.kernel.disturbances)
        yield Text(said, style="yellow")
    for clamp in (clamp for clamp in snapshot.clamps if not clamp.standing):
        what = f"kernel: the clamp of IPv{clamp.family} to MSS {clamp.mss} is not in force:"
        who = "another program has removed or shadowed it; the next look puts it back and says what was in the way"
        yield Text(f"{what} {who}", style="red")
    if snapshot.policies and len(chosen) == len(snapshot.connections):
        yield Group(*(_policy(policy) for policy in snapshot.policies))
    if width >= WIDE:
        yield _ike_table(chosen)
        children = _child_table(chosen)
        if children.row_count:
            yield children
            yield Group(*_fragment_lines(chosen))
    else:
        for connection in chosen:
            yield _card(connection)
    if width >= WIDE:
        yield from (Text(tunnel_line(c.tunnel)) for one in chosen for c in one.children if c.tunnel is not None)
    for connection in chosen:
        if connection.state != "up" and (connection.last_failure or connection.retry_in_s is not None):
            yield _failure(connection)


def _headline(snapshot: Snapshot) -> Text:
    states = [c.state for c in snapshot.connections]
    text = Text(f"xfrmctl {snapshot.version}, up {duration(snapshot.uptime_s)}, ")
    text.append(f"{plural(len(states), 'connection')}, {states.count('up')} up")
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


def _state(connection: ConnectionInfo) -> Text:
    return Text(connection.state, style=_COLOURS.get(connection.state, ""))


def _nat(ike: IkeInfo) -> str:
    return {(False, False): "no", (True, False): "here", (False, True): "peer", (True, True): "both"}[
        ike.nat_local, ike.nat_remote
    ]


def _ike_table(chosen: list[ConnectionInfo]) -> Table:
    table = Table(title="IKE SAs", title_justify="left", expand=True)
    for name in ("connection", "state", "local", "remote", "peer is", "suite", "NAT", "age", "heard"):
        table.add_column(name, overflow="fold")
    for connection in chosen:
        if not connection.ike_sas:
            blank = [""] * 5
            table.add_row(_plain(connection.name), _state(connection), connection.local, connection.remote, *blank)
        for ike in connection.ike_sas:
            table.add_row(
                _plain(ike.name),
                _state(connection) if ike.state == "established" else Text(ike.state, "yellow"),
                _plain(ike.local),
                _plain(ike.remote),
                _plain(ike.remote_id),
                ike.suite or "",
                _nat(ike),
                duration(ike.age_s),
                f"{duration(ike.last_seen_s)} ago",
            )
    return table


def _child_table(chosen: list[ConnectionInfo]) -> Table:
    table = Table(title="CHILD SAs", title_justify="left", expand=True)
    for name in ("child", "selectors", "SPIs in/out", "suite", "in", "out", "ends in", "MTU", "MSS"):
        table.add_column(name, overflow="fold")
    for connection in chosen:
        for child in _children(connection):
            table.add_row(
                _plain(f"{connection.name}/{child.name}" + (f"\n{child.peer}" if child.peer else "")),
                _plain(_selectors(child)),
                f"{child.inbound.spi}\n{child.outbound.spi}",
                "\n".join(filter(None, [child.suite + _how(child, "\n"), _options(child)])),
                _traffic(child.inbound),
                _traffic(child.outbound),
                _ends(child),
                _mtu(child, "\n"),
                _mss(child),
            )
    return table


def _children(connection: ConnectionInfo) -> Iterator[ChildInfo]:
    for ike in connection.ike_sas:
        yield from ike.children


def _card(connection: ConnectionInfo) -> RenderableType:
    title = Text.assemble((connection.name, "bold"), " ", _state(connection), f": {connection.meaning}")
    lines: list[RenderableType] = [title]
    if not connection.ike_sas:
        lines.append(_indented(f"{connection.local} to {connection.remote}"))
    for ike in connection.ike_sas:
        nat = "" if _nat(ike) == "no" else f", NAT {_nat(ike)}"
        lines.append(_indented(f"IKE SA {ike.name}: {ike.state}, {duration(ike.age_s)} old{nat}"))
        lines.append(_indented(f"{ike.local} to {ike.remote}, peer is {ike.remote_id}", 4))
        lines.append(_indented(f"{ike.suite or 'no suite yet'}", 4))
        for child in ike.children:
            lines.append(_indented(f"CHILD SA {child.name}: {_selectors(child)}"))
            spis = f"SPIs {child.inbound.spi} in, {child.outbound.spi} out"
            lines.append(_indented(f"{spis}; {child.suite}{_how(child, ', ')}", 4))
            lines.append(_indented(f"in {_traffic(child.inbound, ', ')}; out {_traffic(child.outbound, ', ')}", 4))
            options = _options(child)
            if options:
                lines.append(_indented(options, 4))
            lines += [_indented(text, 4) for text in _fragments(child)]
            lines.append(_indented(f"MTU {_mtu(child, ', ')}; MSS {_mss(child)}; ends in {_ends(child)}", 4))
    up = {child.name for child in _children(connection)}
    for configured in connection.children:
        if configured.tunnel is not None:
            lines.append(_indented(tunnel_line(configured.tunnel)))
        if configured.name not in up:
            lines.append(_indented(f"child {configured.name}: {configured.state}, {configured.protection}"))
    return Group(*lines)


def _fragment_lines(chosen: list[ConnectionInfo]) -> Iterator[Text]:
    for connection in chosen:
        for child in _children(connection):
            name = f"{connection.name}/{child.name}" + (f" {child.peer}" if child.peer else "")
            yield from (Text(f"{name}: {text}") for text in _fragments(child))


def _fragments(child: ChildInfo) -> Iterator[str]:
    """What becomes of packets that do not fit."""
    found = child.fragments
    if found is None:
        return
    yield f"outside: {found.outer}"
    if found.ipv4_with_df == found.ipv4_without_df != "":
        yield f"too large: {found.ipv4_with_df}"
    elif found.ipv4_with_df:
        yield f"too large, IPv4 with DF: {found.ipv4_with_df}; without: {found.ipv4_without_df}"
    if found.ipv6:
        yield f"too large, IPv6: {found.ipv6}"


def tunnel_line(tunnel: TunnelInfo) -> str:
    """A tunnel device in one line."""
    text = f"device {tunnel.interface}: {tunnel.type}, {tunnel.state}"
    text += f", MTU {tunnel.mtu}" if tunnel.mtu is not None else ""
    text += f", {plural(tunnel.looped, 'packet')} led into itself and dropped" if tunnel.looped else ""
    text += f", keepalives: {tunnel.keepalive}" if tunnel.keepalive != "off" else ""
    return text + (", and a route to the peer leads into it" if tunnel.recursive_route else "")


def _failure(connection: ConnectionInfo) -> RenderableType:
    lines: list[RenderableType] = [Text(f"{connection.name} is {connection.state}: {connection.meaning}", "bold")]
    if connection.last_failure:
        lines += [_indented(line) for line in failure_lines(connection.last_failure)]
    tried = f"{plural(connection.attempts, 'attempt')} so far"
    if connection.retry_in_s is not None:
        lines.append(_indented(f"{'next try:':<13} in {duration(connection.retry_in_s)}; {tried}"))
    return Group(*lines)


def _plain(text: str) -> Text:
    return Text(text)


def _indented(text: str, columns: int = 2) -> Padding:
    return Padding(Text(text), (0, 0, 0, columns), expand=False)


def _how(child: ChildInfo, joint: str) -> str:
    """What is not as nearly always: transport mode, UDP encapsulation."""
    words = ([] if child.mode == "tunnel" else [f"{child.mode} mode"]) + ([child.encap] if child.encap else [])
    return "".join(joint + word for word in words)


def _selectors(child: ChildInfo) -> str:
    return f"{' '.join(child.local_ts)} to {' '.join(child.remote_ts)}"


def _options(child: ChildInfo) -> str:
    """What of the data plane's options is not as usual."""
    plane = child.plane
    found = [
        "no replay protection" if not plane.replay_window else f"replay window {plane.replay_window}",
        f"DSCP outbound {plane.dscp_outbound}",
        f"DSCP inbound {plane.dscp_inbound}",
        f"ECN {plane.ecn}",
        f"mark in {plane.mark_inbound}",
        f"mark out {plane.mark_outbound}",
        f"sets mark in {plane.set_mark_inbound}",
        f"sets mark out {plane.set_mark_outbound}",
        f"offload in {child.inbound.offload}",
        f"offload out {child.outbound.offload}",
        f"if_id {child.if_id:#x}" if child.if_id and child.interface is None else "if_id ",
    ]
    return "; ".join(text for text in found if text not in _USUAL and not text.endswith(" "))


def _traffic(sa: SaInfo, joint: str = "\n") -> str:
    if sa.missing:
        return "gone from the kernel"
    text = f"{size(sa.bytes)}{joint}{count(sa.packets)} packets"
    dropped = {"late": sa.late_drops, "replayed": sa.replay_drops, "forged": sa.integrity_failures}
    if any(dropped.values()):
        text += joint + ", ".join(f"{number} {what}" for what, number in dropped.items() if number)
    return text


def _ends(child: ChildInfo) -> str:
    limits = [s.hard_expires_in_s for s in (child.inbound, child.outbound) if s.hard_expires_in_s is not None]
    return duration(min(limits)) if limits else "never"


def _mtu(child: ChildInfo, joint: str) -> str:
    if child.mtu is None:
        return "-"
    path = child.mtu.path
    age = f", {duration(path.age_s)}" if path is not None and child.mtu.source == path.source else ""
    return f"{child.mtu.inner_mtu} inner{joint}{child.mtu.outer_mtu} outer ({child.mtu.source}{age})"


def _mss(child: ChildInfo) -> str:
    if child.mtu is None:
        return "-"
    found = [str(m) for m in (child.mtu.mss_ipv4, child.mtu.mss_ipv6) if m is not None]
    return "/".join(found) or "off"
