"""The API over a real unix socket: the server, the client, and everything that can go wrong between them."""

import asyncio
import json
import os
import socket
import threading
from copy import deepcopy
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.unit.control.gateway_values import (
    CHILD,
    FAILURE,
    FINDING,
    IKE,
    ROW,
    SNAPSHOT,
    TRAFFIC,
    UP,
    Gateway,
    configured,
    serving,
)
from xfrmctl.control import listen, server
from xfrmctl.control.adapters import adapter
from xfrmctl.control.client import ControlClient, RequestRefused, _Connection
from xfrmctl.control.events import event_json
from xfrmctl.control.openapi import openapi
from xfrmctl.control.pour import AT_ONCE, pieces
from xfrmctl.control.schema import PlanResult
from xfrmctl.control.server import ControlServer
from xfrmctl.control.stream import Subscription
from xfrmctl.model.address import Endpoint
from xfrmctl.model.events import ChildSaInstalled, NegotiationFailed
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import Encr, ProtocolId
from xfrmctl.model.sa import Encap, Mode, SaId
from xfrmctl.model.selection import EVERYTHING, Selection
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.snapshot import ConnectionInfo, Snapshot
from xfrmctl.model.suite import Suite
from xfrmctl.model.traffic import Traffic


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


def ask(path: Path, method: str, where: str, body: str | None = None) -> tuple[int, str]:
    """Status and body of a bare request, as curl would send it."""
    connection = _Connection(path, 10)
    try:
        connection.request(method, where, body)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_client_and_server_agree(path: Path) -> None:
    with serving(path) as gateway:
        client = ControlClient(path)
        assert client.status() == SNAPSHOT
        assert client.status_json()["connections"][0]["name"] == "branch-7"
        assert client.connection("branch-7") == UP
        assert client.up("branch-7", "lan", 5).ok
        assert client.down("branch-7").message == "branch-7 down"
        assert client.rekey("branch-7", "lan", 7.0).message == "branch-7 rekeyed"
        assert client.reload().changed == ["branch-7"]
        assert client.plan() == gateway.planned
        assert client.plan(Path("new.yaml")) == gateway.planned
        assert client.diagnose("branch-8", 0.5).findings == [FINDING]
        assert client.openapi() == openapi()
        assert gateway.asked == [
            ("up", "branch-7", "lan", 5.0),
            ("down", "branch-7", None),
            ("rekey", "branch-7", "lan", 7.0),
            ("plan", None),
            ("plan", Path("new.yaml").absolute()),
            ("diagnose", "branch-8", 0.5),
        ]


def test_a_failed_action_is_a_result_with_its_failure(path: Path) -> None:
    with serving(path):
        result = ControlClient(path).up("branch-8")
        assert not result.ok and result.failure == FAILURE


def test_a_refused_reload_is_a_result_and_a_refused_plan_an_error(path: Path) -> None:
    with serving(path) as gateway:
        gateway.reload_ok = False
        assert "unknown key" in ControlClient(path).reload().message
        with pytest.raises(RequestRefused, match="unknown key") as caught:
            ControlClient(path).plan()
        assert caught.value.status == 422 and caught.value.cure == "correct the file"


def test_only_root_and_the_daemons_user_may_have_it_read_a_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer would tell whoever may use the socket what is in files that only the daemon can read."""
    monkeypatch.setattr(server, "peer_uid", lambda transport: 12345)
    with serving(path) as gateway:
        with pytest.raises(RequestRefused, match="only root") as caught:
            ControlClient(path).plan(Path("/etc/shadow"))
        assert caught.value.status == 403 and gateway.asked == []
        assert ControlClient(path).plan() == gateway.planned


def test_the_kernel_says_who_asks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int | None] = []

    def asked(transport: asyncio.BaseTransport | None) -> int | None:
        found.append(listen.peer_uid(transport))
        return found[-1]

    monkeypatch.setattr(server, "peer_uid", asked)
    with serving(path):
        ControlClient(path).plan(Path("/etc/xfrmctl/new.yaml"))
    assert found == [os.geteuid()] and listen.peer_uid(None) is None


def test_a_path_that_depends_on_where_one_stands_is_refused(path: Path) -> None:
    with serving(path), pytest.raises(RequestRefused, match="no absolute path") as caught:
        ControlClient(path)._call(PlanResult, "POST", "/v1/plan", {"file": "new.yaml"})
    assert caught.value.status == 400


def test_wrong_names_get_the_nearest_right_word(path: Path) -> None:
    with serving(path):
        client = ControlClient(path)
        for call in (client.connection, client.up):
            with pytest.raises(RequestRefused, match="no connection 'brunch-7'; did you mean 'branch-7'") as caught:
                call("brunch-7")
            assert caught.value.status == 404


def test_names_that_look_like_paths(path: Path) -> None:
    with serving(path), pytest.raises(RequestRefused, match=r"no connection 'a/\.\./b c%'"):
        ControlClient(path).connection("a/../b c%")


@pytest.mark.parametrize(
    ("method", "where", "body", "status", "message"),
    [
        ("GET", "/v1/nothing", None, 404, "nothing at /v1/nothing"),
        ("DELETE", "/v1/status", None, 405, "DELETE is not for /v1/status"),
        ("POST", "/v1/connections/branch-7/up", "{", 400, "body is not as it should be"),
        ("POST", "/v1/connections/branch-7/up", '{"child": 7}', 400, "child"),
        ("POST", "/v1/connections/branch-7/up", '{"timeout_s": -1}', 400, "out of range"),
        ("POST", "/v1/connections/branch-7/up", '{"timeout_s": "soon"}', 400, "timeout_s"),
        ("POST", "/v1/connections/branch-7/up", "x" * 70000, 413, ""),
    ],
)
def test_bad_requests_get_an_error_body(
    path: Path, method: str, where: str, body: str | None, status: int, message: str
) -> None:
    with serving(path):
        found, answer = ask(path, method, where, body)
        assert found == status
        assert message in json.loads(answer)["error"]["message"]


def test_no_body_is_needed(path: Path) -> None:
    with serving(path) as gateway:
        status, body = ask(path, "POST", "/v1/connections/branch-7/up")
        assert status == 200 and json.loads(body)["ok"] is True
        assert gateway.asked == [("up", "branch-7", None, 60.0)]
        assert ask(path, "POST", "/v1/connections/branch-8/up")[0] == 409


def test_a_bug_in_a_handler_is_told_without_details(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(path) as gateway:
        gateway.bug = True
        with pytest.raises(RequestRefused, match="internal error: RuntimeError; the daemon's log"):
            ControlClient(path).status()
    assert "a programming error" in capsys.readouterr().out


# ---- events ------------------------------------------------------------------------------------------------------


def test_events_are_followed(path: Path) -> None:
    with serving(path) as gateway:
        found = list(ControlClient(path).events(idle_s=0.5))
        assert found == gateway.feed


def test_a_stop_of_the_daemon_ends_streams_with_a_word(path: Path) -> None:
    found: list[dict[str, Any]] = []
    with serving(path):
        stream = ControlClient(path).events(idle_s=10)
        found.append(next(stream))
    found += list(stream)
    assert found[-1] == {"event": "closing", "reason": "the daemon is stopping"}


def test_a_reader_that_does_not_read_is_let_go(path: Path) -> None:
    gateway = Gateway()
    gateway.endless = True
    with serving(path, gateway), socket.socket(socket.AF_UNIX) as reader:
        reader.connect(str(path))
        reader.sendall(b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(100):
            if gateway.streams_closed:
                break
            threading.Event().wait(0.1)
        assert gateway.streams_closed == 1
        assert ControlClient(path).status() == SNAPSHOT  # and nobody else has noticed


def test_a_slow_reader_is_told_why_it_is_dropped() -> None:
    async def scenario() -> None:
        gateway = Gateway()
        gateway.endless = True
        subscription = Subscription(gateway.events(), length=10)
        await asyncio.sleep(0.05)
        waiting = await subscription.get(1)
        assert waiting is not None and len(waiting) == 10
        last = await subscription.get(1)
        assert last == [{"event": "dropped", "reason": "this reader is too slow: 10 events were waiting"}]
        assert await subscription.get(1) is None
        await subscription.close()
        assert gateway.streams_closed == 1

    asyncio.run(scenario())


def test_a_reader_that_goes_away_closes_its_source(path: Path) -> None:
    with serving(path) as gateway:
        stream = ControlClient(path).events(idle_s=10)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
        for _ in range(100):
            if gateway.streams_closed:
                break
            threading.Event().wait(0.1)
        assert gateway.streams_closed == 1


def test_event_json() -> None:
    suite = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 256)
    event = ChildSaInstalled(
        connection="c",
        child="lan",
        reqid=0x58000001,
        ike="c#1",
        inbound=SaId(ip_address("192.0.2.1"), ProtocolId.ESP, 0xC1),
        outbound=SaId(ip_address("192.0.2.2"), ProtocolId.ESP, 0xC2),
        suite=suite,
        mode=Mode.TUNNEL,
        local_ts=(parse_selector("10.1.0.0/16"),),
        remote_ts=(parse_selector("10.2.0.0/16"),),
        encap=Encap(4500, 4501),
    )
    assert event_json(event, 12.34567) == {
        "event": "child_sa_installed",
        "at": 12.346,
        "connection": "c",
        "child": "lan",
        "reqid": 0x58000001,
        "ike": "c#1",
        "inbound": "esp 0x000000c1 to 192.0.2.1",
        "outbound": "esp 0x000000c2 to 192.0.2.2",
        "suite": "aes256gcm16-noesn",
        "mode": "tunnel",
        "local_ts": ["10.1.0.0/16"],
        "remote_ts": ["10.2.0.0/16"],
        "encap": {"source_port": 4500, "destination_port": 4501},
    }
    failed = NegotiationFailed(
        connection="c",
        child="",
        ike="c#1",
        remote=Endpoint(ip_address("2001:db8::1"), 500),
        initiator=True,
        failure=Failure(code=FailureCode.NO_RESPONSE, text="silence", ours=("a",)),
    )
    found = event_json(failed, 0)
    assert found["remote"] == "[2001:db8::1]:500"
    assert found["failure"]["code"] == "no_response" and found["failure"]["ours"] == ["a"]
    json.dumps(found)


def test_every_reference_of_openapi_resolves() -> None:
    document = openapi()
    text = json.dumps(document)
    schemas = document["components"]["schemas"]
    wanted = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert wanted <= set(schemas) and {"Snapshot", "FailureInfo", "ErrorBody", "UpRequest"} <= wanted


def test_openapi_has_every_route() -> None:
    async def routes() -> set[tuple[str, str]]:
        server = ControlServer(Gateway(), Path("/nowhere"))
        return {(method.lower(), where) for method, where in server.routes()}

    served = asyncio.run(routes())
    described = {
        (method, where) for where, item in openapi()["paths"].items() for method in item if method != "parameters"
    }
    assert served == described


def test_a_large_state_comes_in_pieces_and_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Many(Gateway):
        async def snapshot(self, wanted: Selection = EVERYTHING) -> Snapshot:
            odd = 'a name with "connections":[] in it'
            connections = [replace(UP, name=f"b{number}", meaning=odd) for number in range(3 * AT_ONCE + 1)]
            return replace(SNAPSHOT, connections=connections, reload_error=odd)

        async def traffic(self, wanted: Selection) -> Traffic:
            return replace(TRAFFIC, rows=[replace(ROW, child=f'"rows":[]{number}') for number in range(2 * AT_ONCE)])

    with serving(path, Many()):
        found = ControlClient(path).status()
        assert [c.name for c in found.connections] == [f"b{number}" for number in range(3 * AT_ONCE + 1)]
        assert found.reload_error.startswith("a name") and found.kernel == SNAPSHOT.kernel
        rows = ControlClient(path).traffic().rows
        assert [row.child for row in rows] == [f'"rows":[]{number}' for number in range(2 * AT_ONCE)]


@pytest.mark.parametrize("peers", [0, 1, AT_ONCE, 1000])
@pytest.mark.parametrize("children", [0, 1, 1000])
def test_no_piece_is_larger_than_a_few_children(peers: int, children: int) -> None:
    """However they are spread: over connections, over the IKE SAs of one, over the children of one IKE SA."""
    odd = 'a name with "ike_sas":[],"children":[] in it'
    ikes = [
        replace(IKE, name=f"c#{n}", meaning=odd, children=[CHILD] * (children if n == 0 else 1)) for n in range(peers)
    ]
    one = replace(UP, meaning=odd, children=[configured(f"lan{n}", "up") for n in range(children)], ike_sas=ikes)
    for value in (one, replace(SNAPSHOT, connections=[one, UP])):
        written = list(pieces(deepcopy(value)))
        assert json.loads(b"".join(written)) == json.loads(adapter(type(value)).dump_json(value))
        items = [piece.count(b'"dataplane"') + piece.count(b'"spi_initiator"') for piece in written]
        assert max(items) <= AT_ONCE + 2


def test_one_connection_of_many_comes_in_pieces_and_whole(path: Path) -> None:
    class Many(Gateway):
        async def connection(self, name: str) -> ConnectionInfo:
            return replace(UP, ike_sas=[replace(IKE, children=[CHILD] * (3 * AT_ONCE))])

    with serving(path, Many()):
        assert len(ControlClient(path).connection("branch-7").ike_sas[0].children) == 3 * AT_ONCE


def test_traffic_takes_the_filters_of_the_status(path: Path) -> None:
    with serving(path) as gateway:
        found = ControlClient(path).traffic([("connection", "branch-*"), ("connection", "x")])
        assert gateway.wanted.connections == ("branch-*", "x") and found.rows[0].child == "lan"


@pytest.mark.parametrize("query", ["stat=up", "connection=" + "&connection=x" * 70, "spi=-1", "spi=" + "f" * 17])
def test_queries_that_cannot_be_answered(path: Path, query: str) -> None:
    with serving(path):
        status, body = ask(path, "GET", f"/v1/status?{query}")
        assert status == 400 and json.loads(body)["error"]["cure"]
