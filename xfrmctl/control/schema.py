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
DEFAULT_DEBUG_S = 600.0
MAX_DEBUG_S = 86400.0


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
class DebugRequest:
    """Tell of each message and decision of a connection for ``seconds``; 0 ends it.

    With ``keys`` keys are written where ``gateway.key_log`` says; refused where it says nothing.
    """

    seconds: float = DEFAULT_DEBUG_S
    keys: bool = False


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
class PlanRequest:
    """What to compare with what is in force: the daemon's own file as it is now, or another one.

    ``file`` is an absolute path that the daemon can read; only root, or the daemon's own user, may name one.
    """

    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One key, spelled with its defaults; None where it is not there. Of a ``secret`` the texts are empty."""

    key: str
    old: str | None
    new: str | None
    secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildChange:
    """One child. ``action``: add, change, remove. ``carries`` is its traffic; ``keys`` are those of a change."""

    name: str
    action: str
    carries: str
    keys: list[KeyChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionChange:
    """One connection. ``action``: add, change, remove.

    ``cost``: none; rekey (of the children in ``rekeys``, no packet is lost); anew (its IKE SA ends and is negotiated
    again); end (its SAs end). ``interrupts`` are the children that are up now and lose their SAs. ``effect`` says it.
    """

    name: str
    action: str
    cost: str
    effect: str
    interrupts: list[str] = field(default_factory=list)
    rekeys: list[str] = field(default_factory=list)
    keys: list[KeyChange] = field(default_factory=list)
    children: list[ChildChange] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayChange:
    """Keys of ``gateway`` and ``policies``. ``cost``: none, or restart (they wait for the daemon's next start)."""

    cost: str
    effect: str
    keys: list[KeyChange]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """What a reload would change.

    ``configuration_differs`` is about the configurations alone: whether there is anything to reload. ``lines`` is what
    would change in the kernel, one a line, and may be there without it: somebody else has been at the kernel.
    ``waiting`` are keys that an earlier reload has taken over and that wait for the daemon's next start.
    """

    file: str
    configuration_differs: bool
    connections: list[ConnectionChange] = field(default_factory=list)
    gateway: list[GatewayChange] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
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
