"""What diagnose gathers: questions to strangers on loopback, echoes as bytes, the programs' and the kernel's tables."""

import socket
import struct
import threading
from contextlib import ExitStack
from ipaddress import ip_address
from pathlib import Path

import pytest

from xfrmctl.daemon.gather import echoes, firewall, host, probes
from xfrmctl.daemon.gather.configured import connection_facts
from xfrmctl.diagnose.facts import Answer
from xfrmctl.diagnose.netfilter import iptables
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.suite import parse_proposal
from xfrmctl.netfilter.save import parse

HERE = ip_address("127.0.0.1")
TAG = b"0123456789"


# ---- questions


def answering(sock: socket.socket, answer: bytes) -> None:
    """Answer one datagram: its first bytes, behind the marker if there is one, after ``answer``."""
    data, who = sock.recvfrom(2048)
    at = 4 if data[:4] == bytes(4) else 0
    sock.sendto(data[:at] + answer + data[at + len(answer) :], who)


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> list[socket.socket]:
    """Two UDP sockets on loopback in the place of IKE's; no privileges are needed to ask them."""
    monkeypatch.setattr(probes, "bypass_policies", lambda _: None)
    monkeypatch.setattr(probes, "pass_by_peer_routes", lambda _: None)
    monkeypatch.setattr(probes, "WAIT_S", 0.05)
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
    for sock in made:
        sock.bind((str(HERE), 0))
    return made


def ask(ports: tuple[int, int]) -> tuple[Answer, Answer]:
    """Without the echo, which wants privileges."""
    with ExitStack() as stack:
        questions = [probes._ike(stack, HERE, HERE, port, encapsulated=port == ports[1]) for port in ports]
        probes._converse(questions)
        return questions[0].answer, questions[1].answer


def test_who_answers_and_who_is_silent(strangers: list[socket.socket]) -> None:
    ports = strangers[0].getsockname()[1], strangers[1].getsockname()[1]
    threads = [threading.Thread(target=answering, args=(strangers[0], b""), daemon=True)]
    for thread in threads:
        thread.start()
    assert ask(ports) == (Answer.ANSWERED, Answer.SILENT)
    for thread in threads:
        thread.join()
    waiting = strangers[1].recv(2048)
    assert waiting[:4] == bytes(4) and waiting[4 + 17] == 0x30 and len(waiting) == 4 + probes.PROBE_BYTES
    for sock in strangers:
        sock.close()


def test_an_answer_to_somebody_else_is_none(strangers: list[socket.socket]) -> None:
    ports = strangers[0].getsockname()[1], strangers[1].getsockname()[1]
    thread = threading.Thread(target=answering, args=(strangers[1], bytes(8)), daemon=True)
    thread.start()
    assert ask(ports) == (Answer.SILENT, Answer.SILENT)
    thread.join()
    for sock in strangers:
        sock.close()


def test_nobody_listens(strangers: list[socket.socket]) -> None:
    ports = strangers[0].getsockname()[1], strangers[1].getsockname()[1]
    for sock in strangers:
        sock.close()
    assert ask(ports) == (Answer.REFUSED, Answer.REFUSED)


# ---- echoes


@pytest.mark.parametrize(("version", "header"), [(4, 20), (6, 40)])
@pytest.mark.parametrize("size", [100, 1399, 1500])
def test_an_echo_has_the_size_that_it_should(version: int, header: int, size: int) -> None:
    assert len(echoes.request(version, TAG, size)) + header == size


def test_the_checksum_is_right() -> None:
    message = echoes.request(4, TAG, 101)
    assert echoes.checksum(message) == 0  # RFC 1071: with its own checksum in it the sum is complete


@pytest.mark.parametrize("version", [4, 6])
def test_a_reply_is_known_by_its_tag(version: int) -> None:
    header = bytes([0x45]) + bytes(19) if version == 4 else b""
    reply = bytes([0 if version == 4 else 129, 0, 0, 0]) + TAG[:2] + b"\0\1" + TAG[2:]
    assert echoes.is_reply(version, header + reply, TAG)
    assert not echoes.is_reply(version, header + reply, b"9876543210")
    own = header + bytes([8 if version == 4 else 128]) + reply[1:]
    assert not echoes.is_reply(version, own, TAG)
    assert not any(echoes.is_reply(version, (header + reply)[:length], TAG) for length in range(len(header) + 8))


def error(version: int, mtu: int, tag: bytes) -> bytes:
    quoted = (bytes([0x45]) + bytes(19) if version == 4 else bytes(40)) + bytes(4) + tag[:2] + b"\0\1"
    if version == 4:
        return bytes([0x45]) + bytes(19) + struct.pack("!BBHHH", 3, 4, 0, 0, mtu) + quoted
    return bytes(40) + struct.pack("!BBHI", 2, 0, 0, mtu) + quoted


@pytest.mark.parametrize("version", [4, 6])
def test_what_a_router_says_of_our_echo_and_of_no_other(version: int) -> None:
    assert echoes._too_big(version, error(version, 1400, TAG), TAG) == 1400
    assert echoes._too_big(version, error(version, 1400, b"xx"), TAG) is None
    whole = error(version, 1400, TAG)
    assert all(echoes._too_big(version, whole[:length], TAG) is None for length in range(len(whole) - 2))


# ---- tables


def test_what_rules_have_counted_meanwhile() -> None:
    def read(packets: int) -> firewall.Counted:
        text = f"*filter\n:INPUT DROP [{packets}:1]\n[{packets}:1] -A INPUT -j DROP\nCOMMIT\n"
        return firewall.counted(tuple(iptables.tables_of(parse(text, 4), "iptables-nft")))

    table = "iptables-nft table ip filter"
    assert firewall.moved(read(3), read(8)) == {(table, "INPUT", "-A INPUT -j DROP"): 5, (table, "INPUT", "policy"): 5}
    assert firewall.moved(read(3), read(3)) == {}


def test_counters_of_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xfrm_stat").write_text("XfrmInError             \t7\n")
    (tmp_path / "netstat").write_text("TcpExt: A IPReversePathFilter\nTcpExt: 1 2\nIpExt: B\nIpExt: 3\n")
    monkeypatch.setattr(host, "PROC_NET", tmp_path)
    assert dict(host._counters()) == {"XfrmInError": 7, "A": 1, "IPReversePathFilter": 2, "B": 3}


def test_sysctls_of_devices_with_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "net" / "ipv4" / "conf" / "eth0.7"
    place.mkdir(parents=True)
    (place / "rp_filter").write_text("1\n")
    (tmp_path / "net" / "ipv4" / "ip_forward").write_text("0\n")
    monkeypatch.setattr(host, "PROC_SYS", tmp_path)
    assert dict(host._sysctls(["eth0.7"])) == {"net.ipv4.ip_forward": "0", "net.ipv4.conf.eth0.7.rp_filter": "1"}


def test_facts_of_a_connection_have_no_secret() -> None:
    child = ChildConfig(
        name="lan",
        local_ts=(parse_selector("10.1.0.0/16"),),
        remote_ts=(parse_selector("10.2.0.0/16"),),
        esp=(parse_proposal("aes256gcm16", ProtocolId.ESP),),
    )
    config = ConnectionConfig(
        name="main",
        local=HERE,
        remote=None,
        local_id=parse_identity("moon"),
        remote_id=None,
        psk=b"a very secret thing",
        ike=(parse_proposal("aes256gcm16-prfsha384-x25519", ProtocolId.IKE),),
        children=(child,),
    )
    (found,) = connection_facts([config])
    assert "secret" not in repr(found) and found.auth == "psk" and found.remote_id == "any"
    assert found.children[0].esp == ("aes256gcm16-noesn",)
