"""What a verb needs from outside: the global options, JSON or text, and the daemon."""

import json
import os
import sys
from dataclasses import asdict, dataclass, is_dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from xfrmctl.control.client import ControlClient

DEFAULT_CONTROL = Path("/run/xfrmctl/control.sock")
DEFAULT_CONFIG = Path("/etc/xfrmctl/xfrmctl.yaml")
DEFAULT_STATE = Path("/var/lib/xfrmctl")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@dataclass(slots=True)
class Session:
    """One run of the command; it hangs at typer's context as ``obj``."""

    control: Path = DEFAULT_CONTROL
    json: bool = False

    def client(self) -> "ControlClient":
        """The daemon."""
        from xfrmctl.control.client import ControlClient  # noqa: PLC0415

        return ControlClient(self.control)


def session(context: typer.Context, as_json: bool = False) -> Session:
    """The session of this run; remembers whether failures are to be JSON, too."""
    found = context.find_object(Session)
    if found is None:
        found = context.obj = Session()
    found.json = as_json
    return found


def console() -> "Console":
    """Rich's console on the stdout of this moment."""
    from rich.console import Console  # noqa: PLC0415

    return Console(file=sys.stdout, highlight=False, soft_wrap=False)


def fit_output() -> None:
    """Where the locale has no Unicode, what it cannot spell becomes a question mark; a closed stdout takes all."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _json(value: object, indent: int | None = None) -> str:
    """JSON says everything in ASCII where it has to."""
    plain = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") != "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=plain)


def print_line(value: object) -> None:
    """A value as one line of JSON on stdout, at once: a reader may wait for it."""
    print(_json(value), flush=True)


def print_json(value: object) -> None:
    """A value as JSON on stdout."""
    plain: Any = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    print(_json(plain, 2))
