"""``xfrmctl mtu``: what fits into a path, and why."""

from typing import TYPE_CHECKING, Annotated

import typer

from xfrmctl.cli.session import Json, console, print_json, session

if TYPE_CHECKING:
    from xfrmctl.pmtu.explain import Explanation

USUAL = (
    "aes256gcm16",
    "chacha20poly1305",
    "aes256-sha256",
    "aes256-sha384",
    "aes256-sha512",
    "aes128-sha1",
    "3des-md5",
)


def mtu(
    context: typer.Context,
    suite: Annotated[
        str | None, typer.Argument(help="ESP suite such as aes256gcm16; the usual ones if left out.")
    ] = None,
    outer_mtu: Annotated[
        int, typer.Option("--outer-mtu", "-m", help="Largest IP packet of the path, bytes.", min=68, max=65535)
    ] = 1500,
    ipv6: Annotated[bool, typer.Option("--ipv6", "-6", help="The gateways talk over IPv6.")] = False,
    encap: Annotated[bool, typer.Option("--encap", "-u", help="ESP in UDP (NAT traversal).")] = False,
    transport: Annotated[bool, typer.Option("--transport", help="Transport mode.")] = False,
    cisco: Annotated[
        bool, typer.Option("--cisco", help="Cisco's worked example: path 1330, 3DES with HMAC-MD5-96.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what ESP costs: the largest inner packet and the TCP MSS that fit a path, as a sum to follow.

    Example: `xfrmctl mtu aes256gcm16 --outer-mtu 1492 --encap`, or `xfrmctl mtu --cisco`
    """
    session(context, as_json)
    from xfrmctl.model.sa import Mode  # noqa: PLC0415
    from xfrmctl.pmtu.explain import explain  # noqa: PLC0415
    from xfrmctl.pmtu.spelling import parse_suite  # noqa: PLC0415

    if cisco:
        suite, outer_mtu, ipv6, encap, transport = "3des-md5", 1330, False, False, False
    mode = Mode.TRANSPORT if transport else Mode.TUNNEL
    version = 6 if ipv6 else 4
    suites = [parse_suite(text) for text in ((suite,) if suite else USUAL)]
    try:
        found = [explain(outer_mtu, s, version, encap, mode) for s in suites]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--outer-mtu") from None
    if as_json:
        print_json([_plain(f) for f in found] if suite is None else _plain(found[0]))
    elif suite is None:
        _overview(found)
    else:
        _sum(found[0])


def _plain(found: "Explanation") -> dict[str, object]:
    from dataclasses import asdict  # noqa: PLC0415

    return asdict(found)


def _overview(found: "list[Explanation]") -> None:
    from rich.table import Table  # noqa: PLC0415

    first = found[0]
    title = f"path of {first.outer_mtu} bytes, IPv{first.outer_version}" + (", ESP in UDP" if first.encap else "")
    table = Table(title=title, title_justify="left")
    table.add_column("suite")
    for name in ("inner MTU", "overhead", "MSS IPv4", "MSS IPv6", "header sum"):
        table.add_column(name, justify="right")
    for row in found:
        table.add_row(
            row.suite,
            *(_number(n) for n in (row.inner_mtu, row.overhead, row.mss_ipv4, row.mss_ipv6, row.classic_inner_mtu)),
        )
    console().print(table)
    print("header sum: the classic formula, wrong by a few bytes either way; see xfrmctl mtu SUITE")


def _sum(found: "Explanation") -> None:
    from rich.table import Table  # noqa: PLC0415

    out = console()
    where = f"{found.suite}, {found.mode} mode, outer IPv{found.outer_version}"
    table = Table(title=where + (", ESP in UDP" if found.encap else ""), title_justify="left", show_footer=True)
    table.add_column("", footer="inner MTU")
    table.add_column("bytes", justify="right", footer=str(found.inner_mtu))
    table.add_column("", footer=f"overhead {found.overhead}")
    for row in found.rows:
        table.add_row(row.label, f"{row.bytes:+d}" if row is not found.rows[0] else str(row.bytes), row.note)
    out.print(table)
    print(f"TCP MSS: {_number(found.mss_ipv4)} over IPv4, {_number(found.mss_ipv6)} over IPv6")
    print(
        f"A packet of {found.inner_mtu} bytes becomes {found.largest_packet}; one byte more, {found.one_byte_more}: "
        f"{'too much' if found.one_byte_more > found.outer_mtu else 'fits'} for {found.outer_mtu}."
    )
    print(f"Classic formula (header sum): {found.classic_inner_mtu}. Exact: {found.inner_mtu}.")
    for note in found.notes:
        out.print(note, markup=False)


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
