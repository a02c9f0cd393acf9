"""``xfrmctl daemon``: the gateway itself."""

import gc
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from xfrmctl.cli.session import DEFAULT_CONFIG, DEFAULT_STATE, session


class LogFormat(StrEnum):
    """A story to read, JSON lines for machines, or entries of systemd's journal with fields; auto: journal or story."""

    AUTO = "auto"
    JOURNAL = "journal"
    STORY = "story"
    JSON = "json"


class LogLevel(StrEnum):
    """What is worth a line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def daemon(
    context: typer.Context,
    config: Annotated[Path, typer.Option("--config", help="Configuration file.")] = DEFAULT_CONFIG,
    control: Annotated[
        Path | None, typer.Option("--control", help="Control socket to make (default: the global --control).")
    ] = None,
    state: Annotated[Path, typer.Option("--state", help="Directory for what must outlive a crash.")] = DEFAULT_STATE,
    log_format: Annotated[LogFormat, typer.Option("--log-format", help="How to log.")] = LogFormat.AUTO,
    log_level: Annotated[LogLevel, typer.Option("--log-level", help="What to log.")] = LogLevel.INFO,
    protect: Annotated[
        bool,
        typer.Option("--protect", help="Only block what is configured, as a stop leaves it, and end: for the boot."),
    ] = False,
) -> None:
    """Run the gateway in the foreground, until SIGTERM or ^C. SIGHUP reloads.

    SIGUSR1 ends it too, but leaves SAs and policies to the next daemon, which keeps packets going until it has its own.

    Needs root (CAP_NET_ADMIN, CAP_NET_RAW, UDP 500 and 4500). A stop deletes our SAs and tells the peers;
    what is configured stays blocked, never in clear, until `xfrmctl cleanup`.

    Example: `xfrmctl daemon --config /etc/xfrmctl/xfrmctl.yaml --log-format json`
    """
    found = session(context)
    gc.disable()  # a tenth of the time that the imports take; a daemon that has started turns it on again
    from xfrmctl.daemon.logs import chosen  # noqa: PLC0415
    from xfrmctl.daemon.main import Options  # noqa: PLC0415
    from xfrmctl.daemon.process import run  # noqa: PLC0415

    options = Options(
        config=config,
        control=control or found.control,
        state=state,
        log_format=chosen(log_format.value),
        log_level=log_level.value,
    )
    raise typer.Exit(run(options, protect=protect))
