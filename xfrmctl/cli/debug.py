"""``xfrmctl debug``: the story of one connection, message by message, while the daemon goes on."""

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xfrmctl.cli import complete
from xfrmctl.cli.events import INDENT, line
from xfrmctl.cli.interrupt import until_interrupted
from xfrmctl.cli.session import Json, console, print_json, print_line, session

if TYPE_CHECKING:
    from xfrmctl.control.client import ControlClient


def debug(
    context: typer.Context,
    connection: Annotated[
        str, typer.Argument(help="Name of a configured connection.", autocompletion=complete.connections)
    ],
    lasts: Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 60s, 10m, 2h; a day at most.")] = "10m",
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not follow: the daemon's log has it, and `xfrmctl events`.")
    ] = False,
    keys: Annotated[
        bool,
        typer.Option("--keys", help="Write keys for Wireshark, too; only where `gateway.key_log` names a directory."),
    ] = False,
    off: Annotated[bool, typer.Option("--off", help="No more of it.")] = False,
    as_json: Json = False,
) -> None:
    """Tell each message of a connection payload by payload, and each decision with its reason, until ^C.

    Nothing is restarted, no other connection gets slower, and it ends by itself. Keys, nonces, proofs and
    pre-shared keys are never shown, only their sizes. With --keys the daemon writes session keys into a
    directory that the configuration must name: `WIRESHARK_CONFIG_DIR=DIRECTORY wireshark` then decrypts.
    Suites that Wireshark cannot be told of, as ChaCha20, are named, and a comment in its tables.

    Example: `xfrmctl debug branch-7`, `xfrmctl debug branch-7 --for 2h --detach`, `xfrmctl debug branch-7
    --off`; in another terminal: `xfrmctl down branch-7 && xfrmctl up branch-7`
    """
    client = session(context, as_json).client()
    seconds = 0.0 if off else _seconds(lasts)
    result = client.debug(connection, seconds, keys=keys)
    if off or detach:
        if as_json:
            print_json(result)
        else:
            print(result.message)
        return
    try:
        with until_interrupted():
            if keys and not as_json:
                print(result.message)
            _follow(client, connection, seconds, as_json=as_json)
    finally:
        from xfrmctl.control.client import ControlError  # noqa: PLC0415

        with suppress(ControlError):  # a daemon that has gone tells nothing anyway
            client.debug(connection, 0)


def _seconds(text: str) -> float:
    from xfrmctl.config.spelling import seconds  # noqa: PLC0415

    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from None


def _follow(client: "ControlClient", connection: str, seconds: float, *, as_json: bool) -> None:
    """Print what happens until the time is over; a quiet connection is looked at from time to time."""
    ends = time.monotonic() + seconds
    query = [("connection", connection), ("severity", "debug")]
    if not as_json:
        console().print(f"the story of {connection} for {seconds:g} s; ^C ends it", style="dim")
    for event in client.events(seconds, query):
        if as_json:
            print_line(event)
        elif event.get("event") != "path_probed":
            console().print(_told(event))
        if time.monotonic() >= ends:
            return


def _told(event: dict[str, Any]) -> Any:
    """What a message says goes under it; a decision has a mark of its own."""
    from rich.text import Text  # noqa: PLC0415

    if event.get("event") == "payloads_told":
        return Text("\n".join(f"{INDENT}  {text}" for text in event["lines"]))
    if event.get("event") == "decision_told":
        return line({**event, "text": f"= {event['decision']}"})
    return line(event)
