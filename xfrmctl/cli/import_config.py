"""``xfrmctl import``: take over the configuration of another product."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from xfrmctl.cli.outcome import FAILED
from xfrmctl.cli.session import Json, print_json, session
from xfrmctl.model.words import plural

if TYPE_CHECKING:
    from xfrmctl.importers.convert import Imported
    from xfrmctl.model.address import IPAddress

From = Literal["auto", "swanctl", "strongswan", "libreswan", "vyos"]
DEFAULT_TARGET = Path("xfrmctl-import")


def import_config(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="swanctl.conf, ipsec.conf, or VyOS's config.boot or set commands.")],
    target: Annotated[
        Path, typer.Option("--to", help="Directory to write; it must not exist yet, or be empty.")
    ] = DEFAULT_TARGET,
    dialect: Annotated[
        From, typer.Option("--from", help="Whose file it is: strongswan and libreswan are for ipsec.conf.")
    ] = "auto",
    local: Annotated[
        list[str] | None,
        typer.Option("--local", help="Address of the gateway that the file is for; without it: those of this machine."),
    ] = None,
    secrets: Annotated[
        Path | None, typer.Option("--secrets", help="ipsec.secrets, where it does not lie beside ipsec.conf.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option("--root", help="Where absolute paths start, for a copy of another machine's files.")
    ] = None,
    follow: Annotated[
        list[Path] | None,
        typer.Option("--follow", help="A directory that includes may lead to, beside that of the file."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; only report.")] = False,
    as_json: Json = False,
) -> None:
    """Take over the configuration of strongSwan, libreswan or VyOS, and tell what became of every option.

    The result is a directory: xfrmctl.yaml, which has gone through `xfrmctl check`, secrets and keys in files that only
    their owner can read, and the report. What has no counterpart is in the report, with what to do; nothing is lost in
    silence. No secret is ever shown.

    Exit code 0: all is taken over. 1: something has to be decided. 2: the file cannot be read.

    Example: `xfrmctl import /etc/swanctl/swanctl.conf --to new`, then `xfrmctl check new/xfrmctl.yaml`
    """
    session(context, as_json)
    from xfrmctl.importers.convert import Request, run  # noqa: PLC0415
    from xfrmctl.importers.detect import Dialect  # noqa: PLC0415

    found = run(
        Request(
            file=file,
            dialect=None if dialect == "auto" else Dialect(dialect),
            root=root,
            follow=follow or (),
            secrets=secrets,
            ours=frozenset(map(_address, local)) if local else _addresses(),
            target=None if dry_run else target,
        )
    )
    if as_json:
        print_json(_plain(found, None if dry_run else target))
    else:
        _show(found, None if dry_run else target)
    if not found.is_complete:
        raise typer.Exit(FAILED)


def _address(text: str) -> "IPAddress":
    from ipaddress import ip_address  # noqa: PLC0415

    from xfrmctl.model.errors import UnusableInput  # noqa: PLC0415

    try:
        return ip_address(text)
    except ValueError:
        raise UnusableInput(f"{text!r} is no address; write one such as --local 192.0.2.1") from None


def _addresses() -> "frozenset[IPAddress]":
    """Those of this machine; without a kernel that tells, none."""
    from xfrmctl.kernel.observe import Observer  # noqa: PLC0415
    from xfrmctl.model.errors import KernelRefusal  # noqa: PLC0415

    try:
        with Observer() as observer:
            return frozenset(a for device in observer.devices().values() for a in device.addresses)
    except (KernelRefusal, OSError):
        return frozenset()


def _plain(found: "Imported", target: Path | None) -> dict[str, object]:
    from xfrmctl.importers.report import Fate  # noqa: PLC0415

    return {
        "ok": found.is_complete,
        "from": found.dialect.value,
        "directory": str(target) if target else None,
        "files": list(found.files) if target else [],
        "connections": found.connections,
        "children": found.children,
        "left_out": list(found.left_out),
        "warnings": [f"{w.key}: {w.cause}; {w.cure}" for w in found.warnings],
        "counts": {fate.value: found.report.count(fate) for fate in Fate},
        "options": found.report.plain(),
    }


def _show(found: "Imported", target: Path | None) -> None:
    """What needs eyes; the mapped options are counted only, and stand in the report."""
    from xfrmctl.importers.report import Fate  # noqa: PLC0415

    text = found.report.text(fate for fate in Fate if fate is not Fate.MAPPED)
    if text:
        print(text)
    for warning in found.warnings:
        print(f"xfrmctl: warning: {warning.key}: {warning.cause}; {warning.cure}", file=sys.stderr)
    mapped = plural(found.report.count(Fate.MAPPED), "option")
    if found.problems:
        state = f"`xfrmctl check` finds {plural(len(found.problems), 'problem')} until the above is decided"
    else:
        children = f"{found.children} {'child' if found.children == 1 else 'children'}"
        state = f"`xfrmctl check` passes: {plural(found.connections, 'connection')}, {children}"
    print(f"{mapped} mapped as they were; {state}")
    if target is not None:
        print(f"{target}: {len(found.files)} files; {target}/import-report.txt has every option")
