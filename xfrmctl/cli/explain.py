"""``xfrmctl explain``: the order of events for one packet on this gateway."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Json, console, print_json, session

if TYPE_CHECKING:
    from rich.table import Table

    from xfrmctl.journey.report import Report
    from xfrmctl.journey.steps import Journey
    from xfrmctl.netfilter.packet import Packet

_SIGNS = {"pass": " ", "change": "~", "drop": "X", "unsure": "?", "end": "="}
_WHERE = 24
"""Columns for the place of a step; longer ones are wrapped."""


def explain(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="Source address of the packet.")],
    destination: Annotated[str, typer.Argument(metavar="DST", help="Destination address.")],
    protocol: Annotated[
        str, typer.Argument(metavar="PROTO", help="tcp, udp, icmp, … or a number.", show_default=True)
    ] = "tcp",
    port: Annotated[
        int | None, typer.Argument(metavar="PORT", help="Destination port.", min=0, max=65535, show_default=False)
    ] = None,
    source_port: Annotated[
        int | None,
        typer.Option("--sport", help="Source port; rules that ask for it depend on it otherwise.", max=65535),
    ] = None,
    mark: Annotated[int, typer.Option("--mark", help="Mark that it comes with.", min=0)] = 0,
    length: Annotated[
        int | None, typer.Option("--length", help="Bytes of the whole IP packet.", min=20, max=65535)
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain what this gateway does to a packet, and to its answer: routes, rules, NAT, policies, SAs, MTU and MSS.

    Every step quotes the kernel. What cannot be decided is said: "depends on …". Nothing is sent and nothing changed.

    Exit code 0: both get through, as far as it can be told. 1: one is dropped.

    Example: `xfrmctl explain 10.1.1.10 10.1.2.10 tcp 443`, `xfrmctl explain fd10:1::10 fd10:2::10 icmpv6 --length 1500`
    """
    session(context, as_json)
    from xfrmctl.cli.here import Here  # noqa: PLC0415
    from xfrmctl.journey.report import both_ways  # noqa: PLC0415
    from xfrmctl.kernel.observe import Observer  # noqa: PLC0415

    packet = _packet(source, destination, protocol, (source_port, port), mark, length)
    with Observer() as observer:
        found = both_ways(Here(observer), packet)
    if as_json:
        print_json(_plain(found))
    else:
        _show(found)
    if found.dropped:
        raise typer.Exit(FAILED)


def _packet(
    source: str, destination: str, protocol: str, ports: tuple[int | None, int | None], mark: int, length: int | None
) -> "Packet":
    from ipaddress import ip_address  # noqa: PLC0415

    from xfrmctl.model.nearest import nearest  # noqa: PLC0415
    from xfrmctl.netfilter.packet import ICMP, ICMPV6, PROTOCOLS, SYN, TCP, Packet  # noqa: PLC0415

    try:
        ends = ip_address(source), ip_address(destination)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="SRC, DST") from None
    if ends[0].version != ends[1].version:
        raise typer.BadParameter("one is IPv4 and the other IPv6; write two of one family", param_hint="SRC, DST")
    number = PROTOCOLS.get(protocol.lower()) or (
        int(protocol) if protocol.isdecimal() and int(protocol) < 256 else None
    )
    if number is None:
        near = nearest(protocol, PROTOCOLS)
        hint = f"did you mean {near!r}? Otherwise " if near else ""
        known = ", ".join(PROTOCOLS)
        raise typer.BadParameter(f"{protocol!r} is no protocol: {hint}a number, or one of {known}", param_hint="PROTO")
    if number == ICMP and ends[0].version == 6:
        number = ICMPV6
    echo = {ICMP: 8, ICMPV6: 128}.get(number)
    return Packet(
        source=ends[0],
        destination=ends[1],
        protocol=number,
        source_port=ports[0] if echo is None else None,
        destination_port=ports[1] if echo is None else None,
        icmp_type=echo,
        icmp_code=None if echo is None else 0,
        tcp_flags=SYN if number == TCP else None,
        mss=(1460 if ends[0].version == 4 else 1440) if number == TCP else None,
        mark=mark,
        length=length,
    )


def _plain(found: "Report") -> dict[str, Any]:
    def journey(one: "Journey") -> dict[str, Any]:
        return {
            "title": one.title,
            "dropped": one.dropped,
            "end": one.end,
            "depends": list(one.depends),
            "steps": [
                {
                    "where": step.where,
                    "outcome": step.outcome.value,
                    "text": step.text,
                    "evidence": list(step.evidence),
                    "depends": list(step.depends),
                }
                for step in one.steps
            ],
        }

    return {"dropped": found.dropped, "there": journey(found.there.journey), "back": journey(found.back.journey)}


def _show(found: "Report") -> None:
    from rich.text import Text  # noqa: PLC0415

    out = console()
    for number, journey in enumerate((found.there.journey, found.back.journey)):
        if number:
            out.print()
        out.print(Text(journey.title, style="bold"))
        out.print(_table(journey))
        verdict = "DROPPED" if journey.dropped else "gets through"
        unless = ", as far as it can be told" if journey.depends else ""
        out.print(Text(f"{verdict}{unless}: {journey.end}", style="bold"))


def _table(journey: "Journey") -> "Table":
    """A line for each step, with its evidence below in the same column."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table.grid(padding=(0, 1))
    table.add_column(width=1)
    table.add_column(max_width=_WHERE)
    table.add_column(ratio=1)
    for step in journey.steps:
        text = Text(step.text)
        for word in step.evidence:
            text.append(f"\n· {word}", style="dim")
        for word in step.depends:
            text.append(f"\ndepends on {word}", style="italic")
        table.add_row(_SIGNS[step.outcome.value], Text(step.where), text)
    return table
