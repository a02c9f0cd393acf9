"""The socket itself, and a client without the daemon it expects."""

import asyncio
import http.server
import json
import os
import socket
import socketserver
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.unit.control.gateway_values import SNAPSHOT, Gateway, serving
from xfrmctl.control.client import ControlClient, Unreachable
from xfrmctl.control.listen import ListenError, listen
from xfrmctl.control.server import ControlServer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


def test_socket_is_private_and_goes_with_the_daemon(path: Path) -> None:
    with serving(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


def test_socket_for_a_group(path: Path) -> None:
    import grp  # noqa: PLC0415

    name = grp.getgrgid(os.getgid()).gr_name
    with listen(path, name):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    with pytest.raises(ListenError, match="no group 'nobody-knows'; add it"):
        listen(path, "nobody-knows")


def test_a_living_daemon_keeps_its_socket(path: Path) -> None:
    with serving(path):
        with pytest.raises(ListenError, match="another daemon answers there"):
            listen(path)
        assert ControlClient(path).status() == SNAPSHOT


def test_a_stale_socket_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(path):
        assert ControlClient(path).status() == SNAPSHOT


def test_what_is_no_socket_stays(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("precious")
    with pytest.raises(ListenError, match="something else is there"):
        listen(path)
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="longer than 107 bytes"):
        listen(tmp_path / ("x" * 120))


def test_a_socket_taken_over_is_not_removed(path: Path) -> None:
    async def scenario() -> None:
        server = ControlServer(Gateway(), path)
        await server.start()
        path.unlink()  # noqa: ASYNC240  nothing else runs here
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
            await server.stop()
            assert path.exists()  # noqa: ASYNC240

    asyncio.run(scenario())


def test_no_daemon(path: Path) -> None:
    with pytest.raises(Unreachable, match=r"no daemon listens at .*\(systemctl start xfrmctl,"):
        ControlClient(path).status()
    with pytest.raises(Unreachable, match="no daemon listens"):
        list(ControlClient(path).events())


def test_no_permission(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("xfrmctl.control.client._Connection.connect", refuse)
    with pytest.raises(Unreachable, match=r"you may not use .*sudo.*gateway\.control_group"):
        ControlClient(path).status()


@contextmanager
def imposter(path: Path, headers: dict[str, str], body: bytes) -> Iterator[None]:
    """Something that speaks HTTP at the socket and is not our daemon."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    path.parent.mkdir(exist_ok=True)
    with socketserver.UnixStreamServer(str(path), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_another_version(path: Path) -> None:
    headers = {"Xfrmctl-Api": "2", "Xfrmctl-Version": "9.0"}
    with (
        imposter(path, headers, b"{}"),
        pytest.raises(Unreachable, match=r"xfrmctl 9\.0.* version 2 .*systemctl restart"),
    ):
        ControlClient(path).status()
    with imposter(path.with_name("b"), {}, b"{}"), pytest.raises(Unreachable, match="of another kind"):
        ControlClient(path.with_name("b")).status()


def test_an_answer_of_another_shape(path: Path) -> None:
    with imposter(path, {"Xfrmctl-Api": "1"}, b"[]"), pytest.raises(Unreachable, match="not what this version"):
        ControlClient(path).status()


def test_fields_of_a_newer_daemon_are_ignored(path: Path) -> None:
    body = json.dumps({"lines": ["a"], "news": 1}).encode()
    with imposter(path, {"Xfrmctl-Api": "1"}, body):
        assert ControlClient(path)._call(dict, "GET", "/v1/plan") == {"lines": ["a"], "news": 1}


def test_a_daemon_that_breaks_off(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def hang_up() -> None:
            connection, _ = server.accept()
            connection.recv(100)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(Unreachable, match="broke off"):
            ControlClient(path).status()
        thread.join()
