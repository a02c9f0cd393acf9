"""A blocking client of the API for the command line: http.client on a unix socket, no asyncio to start."""

import http.client
import json
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from xfrmctl.control.adapters import adapter
from xfrmctl.control.schema import (
    API_HEADER,
    API_VERSION,
    DEFAULT_DEBUG_S,
    DEFAULT_SOCKET,
    DEFAULT_TIMEOUT_S,
    DEFAULT_WATCH_S,
    PROGRAM_HEADER,
    ActionResult,
    NameList,
    PlanResult,
    ReloadResult,
)
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.finding import Diagnosis
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot
from xfrmctl.model.traffic import Traffic

T = TypeVar("T")
Filters = Sequence[tuple[str, str]]
"""Names and values of a query; a name may stand several times."""

PATIENCE_S = 30.0
"""How long an ordinary answer may take."""


class ControlError(XfrmctlError):
    """The daemon did not do it; ``message`` says why and ``cure`` what to do."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(f"{message}; {cure}" if cure else message)
        self.message = message
        self.cure = cure


class Unreachable(ControlError):
    """No daemon answers: it does not run, may not be asked, or is another version."""


class NotRunning(Unreachable):
    """Nobody listens there at all."""


class RequestRefused(ControlError):
    """The daemon answered with an error; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str, cure: str) -> None:
        super().__init__(message, cure)
        self.status = status


class _Connection(http.client.HTTPConnection):
    """HTTP over AF_UNIX."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("xfrmctl", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class ControlClient:
    """One method a request; every one raises ControlError."""

    def __init__(self, path: Path | str = DEFAULT_SOCKET) -> None:
        self.path = Path(path)

    def status(self, filters: Filters = ()) -> Snapshot:
        """The whole gateway, or what is wanted of it: pairs as (state, not-up), see ``control.query``."""
        return self._call(Snapshot, "GET", _query("/v1/status", filters))

    def status_json(self, filters: Filters = ()) -> dict[str, Any]:
        """The same as the daemon sent it, fields included that this version does not know."""
        return self._call(dict[str, Any], "GET", _query("/v1/status", filters))

    def traffic(self, filters: Filters = ()) -> Traffic:
        """One look at the counters of what is wanted."""
        return self._call(Traffic, "GET", _query("/v1/traffic", filters))

    def names(self, timeout_s: float = PATIENCE_S) -> dict[str, list[str]]:
        """What is configured: connections and their children, in the order of the file."""
        return self._call(NameList, "GET", "/v1/names", timeout_s=timeout_s).connections

    def connection(self, name: str) -> ConnectionInfo:
        """One configured connection."""
        return self._call(ConnectionInfo, "GET", f"/v1/connections/{_path(name)}")

    def up(self, connection: str, child: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S) -> ActionResult:
        """Bring a connection up, or one child of it; wait at most ``timeout_s``."""
        body = {"child": child, "timeout_s": timeout_s}
        where = f"/v1/connections/{_path(connection)}/up"
        return self._call(ActionResult, "POST", where, body, timeout_s + PATIENCE_S)

    def down(self, connection: str, child: str | None = None) -> ActionResult:
        """Take a connection down, or one child of it."""
        where = f"/v1/connections/{_path(connection)}/down"
        return self._call(ActionResult, "POST", where, {"child": child}, 2 * PATIENCE_S)

    def rekey(self, connection: str, child: str | None = None, timeout_s: float = DEFAULT_TIMEOUT_S) -> ActionResult:
        """Renew the keys of one child, or of the IKE SA where none is named."""
        body = {"child": child, "timeout_s": timeout_s}
        where = f"/v1/connections/{_path(connection)}/rekey"
        return self._call(ActionResult, "POST", where, body, timeout_s + PATIENCE_S)

    def debug(self, connection: str, seconds: float = DEFAULT_DEBUG_S, *, keys: bool = False) -> ActionResult:
        """Have each message and decision told for so long, with ``keys`` for Wireshark; 0 ends it."""
        body = {"seconds": seconds, "keys": keys}
        return self._call(ActionResult, "POST", f"/v1/connections/{_path(connection)}/debug", body)

    def reload(self) -> ReloadResult:
        """Have the configuration read again."""
        return self._call(ReloadResult, "POST", "/v1/reload", {}, 4 * PATIENCE_S)

    def plan(self, file: Path | None = None) -> PlanResult:
        """What a reload would change; with ``file``, if that were the configuration file."""
        body = {"file": str(file.absolute())} if file is not None else {}
        return self._call(PlanResult, "POST", "/v1/plan", body, 4 * PATIENCE_S)

    def diagnose(self, connection: str | None = None, seconds: float = DEFAULT_WATCH_S) -> Diagnosis:
        """Look for faults; watch counters for ``seconds``."""
        body = {"connection": connection, "seconds": seconds}
        return self._call(Diagnosis, "POST", "/v1/diagnose", body, seconds + 4 * PATIENCE_S)

    def openapi(self) -> dict[str, Any]:
        """The API's description."""
        return self._call(dict[str, Any], "GET", "/v1/openapi.json")

    def events(self, idle_s: float | None = None, filters: Filters = ()) -> Iterator[dict[str, Any]]:
        """Follow events until the daemon ends the stream; with ``idle_s``, until so long nothing has come.

        ``filters`` are those of ``control.query``, as (severity, warning).
        """
        connection = _Connection(self.path, PATIENCE_S)
        try:
            response = self._send(connection, "GET", _query("/v1/events", filters), None)
            refusal = self._refusal(response.status, response.read() if response.status != 200 else b"")
            if refusal is not None:
                raise refusal
            if connection.sock is not None:
                connection.sock.settimeout(idle_s)
            while line := response.readline():
                yield json.loads(line)
        except TimeoutError:
            return
        except (OSError, http.client.HTTPException):
            raise Unreachable("the daemon went away", "see: systemctl status xfrmctl") from None
        finally:
            connection.close()

    def _call(
        self,
        kind: type[T],
        method: str,
        where: str,
        body: dict[str, Any] | None = None,
        timeout_s: float = PATIENCE_S,
    ) -> T:
        connection = _Connection(self.path, timeout_s)
        try:
            response = self._send(connection, method, where, body)
            content = response.read()
        except TimeoutError:
            raise Unreachable(
                f"the daemon at {self.path} did not answer within {timeout_s:.0f} s",
                "see its log: journalctl -u xfrmctl",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(
                f"the daemon at {self.path} broke off: {error or type(error).__name__}",
                "see its log: journalctl -u xfrmctl",
            ) from None
        finally:
            connection.close()
        refusal = self._refusal(response.status, content)
        if refusal is not None:
            raise refusal
        try:
            found: T = adapter(kind).validate_json(content)
        except ValidationError:
            raise Unreachable(
                "the daemon's answer is not what this version of xfrmctl expects",
                "restart the daemon after an upgrade: systemctl restart xfrmctl",
            ) from None
        return found

    def _send(
        self, connection: _Connection, method: str, where: str, body: dict[str, Any] | None
    ) -> http.client.HTTPResponse:
        content = None if body is None else json.dumps(body).encode()
        try:
            connection.connect()
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NotRunning(
                f"no daemon listens at {self.path}",
                "start it (systemctl start xfrmctl, or: xfrmctl daemon), or name its socket with --control",
            ) from None
        except PermissionError:
            raise Unreachable(
                f"you may not use {self.path}",
                "run this as root (sudo xfrmctl …), or join the group that gateway.control_group names",
            ) from None
        except OSError as error:
            raise Unreachable(f"{self.path}: {error.strerror or error}", "name the socket with --control") from None
        headers = {"Content-Type": "application/json"} if content is not None else {}
        connection.request(method, where, content, headers)
        response = connection.getresponse()
        spoken = response.headers.get(API_HEADER)
        if spoken != API_VERSION:
            program = response.headers.get(PROGRAM_HEADER, "of another kind")
            raise Unreachable(
                f"the daemon at {self.path} (xfrmctl {program}) speaks version {spoken or '?'} of the control API, "
                f"this command version {API_VERSION}",
                "restart the daemon after an upgrade: systemctl restart xfrmctl",
            )
        return response

    @staticmethod
    def _refusal(status: int, content: bytes) -> RequestRefused | None:
        """The error in an answer; None where the answer is a result (a failed action is one, with 409 or 422)."""
        if status == 200:
            return None
        try:
            found = json.loads(content)
            if "error" not in found and status in (409, 422):
                return None
            return RequestRefused(status, str(found["error"]["message"]), str(found["error"]["cure"]))
        except (ValueError, KeyError, TypeError):
            return RequestRefused(status, f"the daemon answered {status}", "see its log: journalctl -u xfrmctl")


def _query(where: str, filters: Filters) -> str:
    return f"{where}?{urlencode(filters)}" if filters else where


def _path(name: str) -> str:
    return quote(name, safe="")
