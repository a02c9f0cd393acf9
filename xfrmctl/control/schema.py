"""Values of the API beside the snapshot, and how its failures look. Only JSON types; ``*_s`` are seconds."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.nearest import advice
from xfrmctl.model.snapshot import FailureInfo

API_VERSION = "1"
API_HEADER = "Xfrmctl-Api"
PROGRAM_HEADER = "Xfrmctl-Version"
DEFAULT_SOCKET = "/run/xfrmctl/control.sock"
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_WATCH_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NameList:
    """What is configured: each connection with the names of its children. Cheap, for completion."""

    connections: dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpRequest:
    """Bring up or rekey a connection, or one child of it; ``timeout_s`` bounds the wait, not the attempt."""

    child: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True, kw_only=True)
class DownRequest:
    """Take a connection down, or one child of it."""

    child: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionResult:
    """How ``up`` or ``down`` ended; ``failure`` says why it did not."""

    ok: bool
    message: str
    failure: FailureInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadResult:
    """How a reload ended; the lists name connections."""

    ok: bool
    message: str
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """What would change, one line a change, as text an operator reads; empty where nothing would."""

    lines: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseRequest:
    """Look for faults of one connection, or of all; ``seconds`` is how long counters are watched."""

    connection: str | None = None
    seconds: float = DEFAULT_WATCH_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """Why a request was not answered, and what to do."""

    message: str
    cure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBody:
    """Every answer that is not one of the above."""

    error: ErrorInfo


class RequestError(XfrmctlError):
    """A request that cannot be served; handlers raise it, and ``status`` is the HTTP status to answer with."""

    def __init__(self, message: str, cure: str = "", status: int = 400) -> None:
        super().__init__(f"{message}; {cure}" if cure else message)
        self.message = message
        self.cure = cure
        self.status = status


def unknown_name(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """404 for a connection or child that is not configured, with the nearest right word."""
    return RequestError(f"no {kind} {name!r}", advice(name, known) or "none is configured", status=404)
