"""Keys for Wireshark: tshark itself decrypts what two engines have said, and what their SAs have carried."""

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.sim.world import ALICE, BOB, Node, World, child, connection
from xfrmctl.daemon.keylog import ESP_TABLE, IKE_TABLE, KeyLog, KeyLogError, esp_line, ike_line, left_out
from xfrmctl.ike.config import Start
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import Direction, KernelSa, SaKeys
from xfrmctl.model.suite import parse_proposal

TSHARK = Path(__file__).parents[3] / "build/peers/tshark/usr/bin/tshark"
IKE_SUITES = ("aes256gcm16-prfsha384-x25519", "aes128-sha256-ecp256", "aes256-sha512-x25519")
ECHO_ID = 0x1234


class Place:
    """Two ends, and Alice's key log."""

    def __init__(self, directory: Path, ike: str = IKE_SUITES[0], esp: str = "aes256gcm16") -> None:
        self.world = World()
        self.allowed: Path | None = directory
        lan = child(local="10.1.2.0/24", remote="10.1.1.0/24", start=Start.NONE, esp=(esp,))
        self.alice = self.world.add("alice", ALICE, connection(ALICE, BOB, child(esp=(esp,)), ike=(ike,)))
        self.bob = self.world.add("bob", BOB, connection(BOB, ALICE, lan, ike=(ike,)))
        self.log = KeyLog(self.alice.engine, lambda: self.allowed, lambda: self.world.now)
        self.troubles: list[str] = []
        self.log.trouble = self.troubles.append
        self._seen = 0

    def up(self, seconds: float = 1.0) -> None:
        self.world.do(self.alice, lambda now: self.alice.engine.initiate("net", None, now))
        self.run(seconds)

    def run(self, seconds: float) -> None:
        """Step by step, so that the log hears of everything in its time."""
        for _ in range(100):
            self.world.run(seconds / 100)
            for event in self.alice.events[self._seen :]:
                self.log.observe(event)
            self._seen = len(self.alice.events)
        fresh = [found for sa_id, found in self.alice.sad.items() if sa_id not in self.logged]
        self.logged |= {sa.id for sa, _ in fresh}
        self.log.installed(fresh)

    logged: set[object] = set()  # noqa: RUF012 - replaced for each place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    found = Place(tmp_path / "keys")
    found.logged = set()
    return found


def lines(directory: Path, table: str) -> list[str]:
    return (directory / table).read_text().splitlines()


# ---- what is written, and when -----------------------------------------------------------------------------------


def test_nothing_is_written_unless_somebody_asks(place: Place, tmp_path: Path) -> None:
    place.up()
    assert not (tmp_path / "keys").exists()


def test_keys_are_private_and_each_is_written_once(place: Place, tmp_path: Path) -> None:
    place.log.start("net", 600.0)
    place.up()
    keys = tmp_path / "keys"
    assert [oct((keys / n).stat().st_mode & 0o777) for n in (IKE_TABLE, ESP_TABLE)] == ["0o600", "0o600"]
    assert keys.stat().st_mode & 0o777 == 0o700
    sa = place.alice.sa()
    assert sa.keys is not None
    assert lines(keys, IKE_TABLE) == [
        f"{sa.spi_i.hex()},{sa.spi_r.hex()},{sa.keys.ei.hex()},{sa.keys.er.hex()},"
        '"AES-GCM-256 with 16 octet ICV [RFC5282]",,,"NONE [RFC4306]"'
    ]
    (out,) = [(s, k) for s, k in place.alice.sad.values() if s.direction == Direction.OUT]
    assert len(lines(keys, ESP_TABLE)) == 2
    assert (
        f'"IPv4","{ALICE}","{BOB}","{out[0].spi:#010x}","AES-GCM with 16 octet ICV [RFC4106]",'
        f'"0x{out[1].encryption.hex()}","NULL",""'
    ) in lines(keys, ESP_TABLE)


def test_an_ike_sa_that_stands_is_written_at_once_and_then_those_that_follow(place: Place, tmp_path: Path) -> None:
    place.up()
    place.log.start("net", 600.0)
    assert len(lines(tmp_path / "keys", IKE_TABLE)) == 1 and lines(tmp_path / "keys", ESP_TABLE) == []
    place.world.do(place.alice, lambda now: place.alice.engine.rekey("net", "lan", now))
    place.world.do(place.alice, lambda now: place.alice.engine.rekey("net", None, now))
    place.run(1)
    place.world.do(place.alice, lambda now: place.alice.engine.rekey("net", "lan", now))
    place.run(1)
    assert len(lines(tmp_path / "keys", IKE_TABLE)) == 2 and len(lines(tmp_path / "keys", ESP_TABLE)) >= 4


def test_it_ends_by_itself_by_word_and_with_the_permission(place: Place, tmp_path: Path) -> None:
    place.log.start("net", 0.5)
    place.up()
    count = len(lines(tmp_path / "keys", IKE_TABLE))
    for end in ("time", "word", "permission"):
        if end != "time":
            place.log.start("net", place.world.now + 600)
        if end == "word":
            place.log.stop("net")
        place.allowed = None if end == "permission" else place.allowed
        place.world.do(place.alice, lambda now: place.alice.engine.rekey("net", None, now))
        place.run(1)
        count += end != "time"  # the one that stood when it was asked for
        assert len(lines(tmp_path / "keys", IKE_TABLE)) == count, end


def test_without_permission_it_cannot_begin(place: Place) -> None:
    place.up()
    place.allowed = None
    with pytest.raises(KeyLogError, match=r"name a directory in gateway\.key_log"):
        place.log.start("net", 600.0)


def test_a_table_that_others_read_or_a_link_is_not_written_to(place: Place, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / IKE_TABLE).touch(0o644)
    (keys / IKE_TABLE).chmod(0o644)
    place.up()
    with pytest.raises(KeyLogError, match="others may read it; take it away"):
        place.log.start("net", 600.0)
    (keys / IKE_TABLE).unlink()
    (keys / IKE_TABLE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyLogError, match="symbolic links"):
        place.log.start("net", 600.0)
    assert not (tmp_path / "elsewhere").exists()


def test_trouble_in_the_midst_ends_the_log_and_not_the_negotiation(place: Place, tmp_path: Path) -> None:
    place.log.start("net", 600.0)
    shutil.rmtree(tmp_path / "keys")
    (tmp_path / "keys").touch()
    place.up()
    assert place.alice.sa().children and len(place.troubles) == 1 and "another directory" in place.troubles[0]


def test_what_wireshark_has_no_name_for_is_a_comment() -> None:
    (suite,) = parse_proposal("chacha20poly1305-prfsha256-x25519", ProtocolId.IKE).suites()
    assert ike_line(suite, (b"a" * 8, b"b" * 8), (b"", b""), (b"", b"")).startswith("# IKE SA 6161616161616161")
    (esp,) = parse_proposal("chacha20poly1305", ProtocolId.ESP).suites()
    sa = KernelSa(
        direction=Direction.OUT, source=ip_address(ALICE), destination=ip_address(BOB), spi=0x1000, reqid=1, suite=esp
    )
    assert esp_line(sa, SaKeys(b"secret")).startswith("# esp 0x00001000 to 172.16.2.1: Wireshark cannot decrypt")
    assert "secret" not in esp_line(sa, SaKeys(b"secret")) and b"secret".hex() not in esp_line(sa, SaKeys(b"secret"))
    (cbc,) = parse_proposal("aes256-sha256", ProtocolId.ESP).suites()
    six = replace(sa, suite=cbc, source=ip_address("2001:db8::1"), destination=ip_address("2001:db8::2"))
    assert esp_line(six, SaKeys(b"\1" * 32, b"\2" * 32)) == (
        f'"IPv6","2001:db8::1","2001:db8::2","0x00001000","AES-CBC [RFC3602]","0x{"01" * 32}",'
        f'"HMAC-SHA-256-128 [RFC4868]","0x{"02" * 32}"'
    )


def test_what_is_left_out_is_said_before(place: Place) -> None:
    config = place.alice.engine.config.connections["net"]
    assert left_out(config) == []
    (lan, *_) = config.children
    odd = replace(lan, esp=(parse_proposal("chacha20poly1305", ProtocolId.ESP), *lan.esp))
    assert left_out(replace(config, children=(odd, odd))) == ["ESP chacha20poly1305-noesn"]
    keys = (parse_proposal("chacha20poly1305-prfsha256-x25519", ProtocolId.IKE),)
    assert left_out(replace(config, ike=keys)) == ["IKE chacha20poly1305"]


# ---- what tshark makes of it -------------------------------------------------------------------------------------


def ipv4(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0,
        ip_address(source).packed, ip_address(destination).packed,
    )  # fmt: skip
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + head[12:] + payload


def capture(path: Path, packets: list[bytes]) -> None:
    """A file of raw IP packets (LINKTYPE_RAW)."""
    found = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for number, packet in enumerate(packets):
        found += struct.pack("=IIII", number, 0, len(packet), len(packet)) + packet
    path.write_bytes(found)


def ike_packets(world: World) -> list[bytes]:
    found = []
    for datagram in world.wire:
        udp = struct.pack(">HHHH", datagram.source.port, datagram.target.port, 8 + len(datagram.data), 0)
        ends = str(datagram.source.address), str(datagram.target.address)
        found.append(ipv4(*ends, 17, udp + datagram.data))
    return found


def esp_packet(sa: KernelSa, keys: SaKeys) -> bytes:
    """A ping in tunnel mode by RFC 4303 and RFC 4106, independent of the kernel."""
    inner = ipv4("10.1.1.10", "10.1.2.10", 1, struct.pack(">BBHHH", 8, 0, 0, ECHO_ID, 7) + bytes(32))
    padding = -(len(inner) + 2) % 4
    inner += bytes(range(1, padding + 1)) + bytes([padding, 4])
    head, iv = struct.pack(">II", sa.spi, 1), bytes(8)
    sealed = AESGCM(keys.encryption[:-4]).encrypt(keys.encryption[-4:] + iv, inner, head)
    return ipv4(str(sa.source), str(sa.destination), 50, head + iv + sealed)


def tshark(directory: Path, file: Path, *fields: str) -> list[str]:
    options = [option for field in fields for option in ("-e", field)]
    done = subprocess.run(
        [TSHARK, "-n", "-r", file, "-o", "esp.enable_encryption_decode:TRUE", "-T", "fields", *options],
        env={**os.environ, "WIRESHARK_CONFIG_DIR": str(directory), "HOME": str(directory)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert IKE_TABLE not in done.stderr and ESP_TABLE not in done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(params=IKE_SUITES)
def spoken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, Path]]:
    found = Place(tmp_path / "keys", request.param)
    found.logged = set()
    found.log.start("net", 600.0)
    found.up()
    yield found, tmp_path


def test_tshark_decrypts_ike_and_esp(spoken: tuple[Place, Path]) -> None:
    place, directory = spoken
    node: Node = place.alice
    (out,) = [found for found in node.sad.values() if found[0].direction == Direction.OUT]
    capture(directory / "a.pcap", [*ike_packets(place.world), esp_packet(*out)])
    shown = tshark(directory / "keys", directory / "a.pcap", "isakmp.exchangetype", "isakmp.typepayload", "icmp.ident")
    rows = [line.split("\t") for line in shown]
    auth = [kinds.split(",") for exchange, kinds, _ in rows if exchange == "35"]
    assert len(auth) == 2 and all({"46", "39", "33", "44", "45"} <= set(kinds) for kinds in auth), shown
    assert rows[-1][2] == str(ECHO_ID), shown
    (directory / "keys" / ESP_TABLE).write_text("")
    (directory / "keys" / IKE_TABLE).write_text("")
    blind = tshark(directory / "keys", directory / "a.pcap", "isakmp.typepayload", "icmp.ident")
    assert not any("44" in line.split("\t")[0].split(",") for line in blind) and blind[-1].strip() == ""
