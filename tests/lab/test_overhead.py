"""``pmtu.overhead`` against the kernel: every suite, family, encapsulation, mode, ESN and TFC padding, many MTUs.

SAs are put in by hand, also with ciphers that no proposal offers. The kernel's own figure for what still fits is
what a connected socket says (``IP_MTU``); that it is true shows a packet of exactly that size, which arrives in a
packet of the size that the arithmetic says, while one byte more is refused.
"""

import errno
import fcntl
import itertools
import random
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.topology import OUTER_A, OUTER_B, Topology
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import Mode
from xfrmctl.pmtu.overhead import inner_mtu, outer_mtu_for, packet_size
from xfrmctl.pmtu.spelling import parse_suite

pytestmark = pytest.mark.lab

LEAST, MOST = 1280, 9000
USUAL = (1400, 1420, 1450, 1480, 1492, 1500, 2002, 4352, 8166, MOST)
MTUS = (*range(LEAST, LEAST + 17), *USUAL)
"""Every remainder of a block of 16, and what links have."""

INTEGRITY = {
    "md5": ("hmac(md5)", 16, 96),
    "sha1": ("hmac(sha1)", 20, 96),
    "sha256": ("hmac(sha256)", 32, 128),
    "sha384": ("hmac(sha384)", 48, 192),
    "sha512": ("hmac(sha512)", 64, 256),
}
CIPHERS = {"aes128": ("cbc(aes)", 16), "3des": ("cbc(des3_ede)", 24), "null": ("ecb(cipher_null)", 0)}
AEADS = {"aes128gcm16": ("rfc4106(gcm(aes))", 20), "aes256gcm16": ("rfc4106(gcm(aes))", 36)}
AEADS["chacha20poly1305"] = ("rfc7539esp(chacha20,poly1305)", 36)
SUITES = (*AEADS, *(f"{cipher}-{integ}" for cipher in CIPHERS for integ in INTEGRITY))

INNER = {4: ("10.1.1.1", "10.1.2.1"), 6: ("fd10:1::1", "fd10:2::1")}
OUTER = {4: (OUTER_A[0], OUTER_B[0]), 6: (OUTER_A[1], OUTER_B[1])}
IP_HEADER, UDP_HEADER = {4: 20, 6: 40}, 8
PORT, SPI = 7777, 0x1001

_SIOCSIFMTU = 0x8922
_IP_MTU_DISCOVER, _IPV6_MTU_DISCOVER, _DO = 10, 23, 2
_IP_MTU, _IPV6_MTU = 14, 24
_UDP_ENCAP, _ESP_IN_UDP = 100, 2


def key(size: int) -> str:
    """Any key; its parts differ, as 3DES wants it."""
    return "0x" + bytes(range(1, size + 1)).hex() if size else '""'


def algorithms(suite: str) -> str:
    """As ``ip xfrm state`` wants them."""
    if suite in AEADS:
        name, size = AEADS[suite]
        return f"aead {name} {key(size)} 128"
    cipher, _, integ = suite.rpartition("-")
    name, size, bits = INTEGRITY[integ]
    auth = f"auth-trunc {name} {key(size)} {bits}"
    return auth if cipher == "ah" else f"{auth} enc {CIPHERS[cipher][0]} {key(CIPHERS[cipher][1])}"


@dataclass(frozen=True)
class Sa:
    """One combination. ``tfc`` is the size that the kernel pads packets up to."""

    suite: str
    outer: int
    encap: bool = False
    mode: Mode = Mode.TUNNEL
    esn: bool = False
    tfc: int = 0
    selector: str = ""

    @property
    def inner(self) -> tuple[int, ...]:
        return (4, 6) if self.mode == Mode.TUNNEL else (self.outer,)

    def ends(self, inner: int) -> tuple[str, str]:
        """Between whom packets go."""
        return INNER[inner] if self.mode == Mode.TUNNEL else OUTER[self.outer]

    def fits(self, mtu: int) -> int:
        return inner_mtu(mtu, parse_suite(self.suite), self.outer, self.encap, self.mode)

    def size(self, inner_length: int) -> int:
        return packet_size(inner_length, parse_suite(self.suite), self.outer, self.encap, self.mode)

    def lines(self, way: str) -> list[str]:
        """For ``ip -batch``: this SA and its policies alone, on the sender (out) or the receiver (in)."""
        a, b = OUTER[self.outer]
        proto = "ah" if parse_suite(self.suite).protocol == ProtocolId.AH else "esp"
        mode = self.mode.value
        state = f"xfrm state add src {a} dst {b} proto {proto} spi {SPI:#x} reqid 1 mode {mode} replay-window 32"
        flags = ["af-unspec"] if self.mode == Mode.TUNNEL else []
        flags += ["align4"] if proto == "ah" and self.outer == 4 else []  # RFC 4302 2.6, as our own SAs have it
        flags += ["esn"] if self.esn else []
        state += "".join(f" flag {flag}" for flag in flags) + f" {algorithms(self.suite)}"
        if self.encap:
            state += f" encap espinudp 4500 4500 {'0.0.0.0' if self.outer == 4 else '::'}"
        if self.tfc:
            state += f" tfcpad {self.tfc}"
        template = f"tmpl src {a} dst {b} proto {proto} reqid 1 mode {mode}"
        policies = []
        for version in self.inner:
            here, there = self.ends(version)
            which = self.selector or f"proto udp dport {PORT}"
            policies.append(f"xfrm policy add src {here} dst {there} {which} dir {way} {template}")
        return ["xfrm state flush", "xfrm policy flush", state, *policies]


class Wire:
    """Gateway A sends, gateway B receives; the links take 9000 bytes, gateway A's as many as is said."""

    def __init__(self, topology: Topology) -> None:
        self.sender, self.receiver = topology.ns("ga"), topology.ns("gb")
        for node, dev in (("ga", "wan"), ("r", "ra"), ("r", "rb"), ("gb", "wan")):
            topology.set_link_mtu(node, dev, MOST)
        families = {4: socket.AF_INET, 6: socket.AF_INET6}
        self._sockets: dict[str, socket.socket] = {}
        self.into = {v: self.receiver.socket(f, socket.SOCK_DGRAM) for v, f in families.items()}
        self.encap = {v: self.receiver.socket(f, socket.SOCK_DGRAM) for v, f in families.items()}
        for version, family in families.items():
            for sock, port in ((self.into[version], PORT), (self.encap[version], 4500)):
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(("", port))
                sock.settimeout(1)
            self.encap[version].setsockopt(socket.IPPROTO_UDP, _UDP_ENCAP, _ESP_IN_UDP)
        self._control = self.sender.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.tap = self.receiver.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.tap.bind(("wan", 3))
        self.tap.settimeout(1)

    def close(self) -> None:
        for sock in (*self._sockets.values(), *self.into.values(), *self.encap.values(), self.tap, self._control):
            sock.close()

    def out(self, source: str, destination: str) -> socket.socket:
        """A socket of the sender's whose packets have DF."""
        sock = self._sockets.get(source)
        if sock is None:
            six = ":" in source
            sock = self.sender.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
            level, option = (socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER) if six else (socket.IPPROTO_IP, _IP_MTU_DISCOVER)
            sock.setsockopt(level, option, _DO)
            sock.bind((source, 0))
            self._sockets[source] = sock
        sock.connect((destination, PORT))
        return sock

    def link(self, mtu: int) -> None:
        """What the sender's link takes."""
        fcntl.ioctl(self._control, _SIOCSIFMTU, struct.pack("16si12x", b"wan", mtu))

    def told(self, source: str, destination: str) -> int:
        """What the kernel says of a way."""
        sock = self.out(source, destination)
        if ":" in source:
            return sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU)
        return sock.getsockopt(socket.IPPROTO_IP, _IP_MTU)

    def send(self, source: str, destination: str, size: int) -> None:
        """An IP packet of this size. Raises OSError with EMSGSIZE where the kernel says that it does not fit."""
        self.out(source, destination).send(bytes(size - IP_HEADER[6 if ":" in source else 4] - UDP_HEADER))

    def arrives(self, version: int, size: int) -> bool:
        try:
            return len(self.into[version].recv(65536)) == size - IP_HEADER[version] - UDP_HEADER
        except TimeoutError:
            return False

    def on_the_wire(self, version: int) -> int:
        """The size of the next IPsec packet, IP header included."""
        while True:
            frame = self.tap.recv(65536)
            ether, head = struct.unpack_from("!H", frame, 12)[0], frame[14:]
            protocol = head[9] if ether == 0x0800 else head[6] if ether == 0x86DD else 0
            if protocol in (50, 51) or (
                protocol == 17 and head[IP_HEADER[version] : IP_HEADER[version] + 2] == PORT_NAT
            ):
                return len(head)

    def silent(self) -> None:
        """Forget what has been captured."""
        self.tap.setblocking(False)
        try:
            while self.tap.recv(65536):
                pass
        except BlockingIOError:
            self.tap.settimeout(1)


PORT_NAT = (4500).to_bytes(2, "big")


@pytest.fixture
def wire(topology: Topology) -> Iterator[Wire]:
    made = Wire(topology)
    try:
        yield made
    finally:
        made.close()


def put(wire: Wire, sa: Sa, *, both: bool = False) -> None:
    wire.sender.batch(sa.lines("out"))
    if both:
        wire.receiver.batch(sa.lines("in"))


def compare(wire: Wire, sa: Sa) -> list[str]:
    """Where the kernel says something else than the arithmetic."""
    found = []
    for mtu in MTUS:
        wire.link(mtu)
        for version in sa.inner:
            told = wire.told(*sa.ends(version))
            if told != sa.fits(mtu):
                found.append(f"{sa}, IPv{version} inside, outer MTU {mtu}: kernel {told}, arithmetic {sa.fits(mtu)}")
    return found


def passes_exactly(wire: Wire, sa: Sa, mtu: int) -> None:
    """What fits arrives in a packet of the size that was foretold, and one byte more is refused."""
    wire.link(mtu)
    for version in sa.inner:
        ends, size = sa.ends(version), sa.fits(mtu)
        wire.silent()
        wire.send(*ends, size)
        assert wire.arrives(version, size), f"{sa}, IPv{version} inside, {size} bytes at {mtu}"
        assert wire.on_the_wire(sa.outer) == sa.size(size) <= mtu, f"{sa}, IPv{version} inside"
        with pytest.raises(OSError) as refused:
            wire.send(*ends, size + 1)
        assert refused.value.errno == errno.EMSGSIZE
        assert sa.size(size + 1) > mtu


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("mode", list(Mode))
def test_the_kernel_and_the_arithmetic_agree_about_esp(wire: Wire, outer: int, mode: Mode) -> None:
    wrong = []
    for suite, encap, esn in itertools.product(SUITES, (False, True), (False, True)):
        sa = Sa(suite, outer, encap, mode, esn)
        put(wire, sa)
        wrong += compare(wire, sa)
    assert wrong == []


@pytest.mark.parametrize("outer", [4, 6])
def test_the_kernel_and_the_arithmetic_agree_about_ah(wire: Wire, outer: int) -> None:
    wrong = []
    for integ, mode, esn in itertools.product(INTEGRITY, Mode, (False, True)):
        sa = Sa(f"ah-{integ}", outer, False, mode, esn)
        put(wire, sa)
        wrong += compare(wire, sa)
    assert wrong == []


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_packet_of_exactly_that_size_passes_and_one_byte_more_does_not(wire: Wire, outer: int, mode: Mode) -> None:
    chance = random.Random(outer)
    cases = [(suite, encap) for suite in SUITES for encap in (False, True)]
    if (outer, mode) != (6, Mode.TRANSPORT):  # there Linux cuts datagrams by a sum of its own, which is not exact
        cases += [(f"ah-{integ}", False) for integ in INTEGRITY]
    for suite, encap in cases:
        sa = Sa(suite, outer, encap, mode, esn=chance.random() < 0.5)
        put(wire, sa, both=True)
        enough = outer_mtu_for(1280, parse_suite(suite), outer, encap, mode)  # of IPv6 there is nothing smaller
        for mtu in (chance.randint(enough, 1500), chance.randint(1501, MOST)):
            passes_exactly(wire, sa, mtu)


@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("suite", ["aes256gcm16", "aes128-sha256"])
def test_tfc_padding_makes_small_packets_large_and_large_ones_no_larger(wire: Wire, outer: int, suite: str) -> None:
    """RFC 4303 2.7, which the kernel can do and we never ask for: a peer's SA may have it.

    Where ``esp4_offload`` is loaded, as in the lab, packets that go through no UDP are its business, and it never pads.
    """
    for tfc, encap in itertools.product((500, 1350, MOST), (False, True)):
        sa = Sa(suite, outer, encap, tfc=tfc)
        put(wire, sa, both=True)
        assert compare(wire, sa) == []
        passes_exactly(wire, sa, 1500)
        wire.silent()
        wire.send(*sa.ends(4), 100)
        assert wire.arrives(4, 100)
        assert wire.on_the_wire(outer) == sa.size(min(tfc, sa.fits(1500)) if encap else 100)


GRE_HEADER, GRE_KEY = 4, 4
DEVICE_ENDS = ("10.9.0.1", "10.9.0.2")
DEVICES = {
    (4, "gre"): ("type gre local {} remote {} ttl 64", 20 + GRE_HEADER, 47),
    (4, "gre with a key"): ("type gre local {} remote {} ttl 64 key 7", 20 + GRE_HEADER + GRE_KEY, 47),
    (4, "ipip"): ("type ipip local {} remote {} ttl 64", 20, 4),
    (6, "gre"): ("type ip6gre local {} remote {} hoplimit 64 encaplimit none", 40 + GRE_HEADER, 47),
}


@pytest.mark.parametrize(("outer", "device"), DEVICES)
@pytest.mark.parametrize("encap", [False, True])
def test_a_tunnel_device_over_transport_mode_takes_its_header_off(
    wire: Wire, outer: int, device: str, encap: bool
) -> None:
    """With the device's MTU at what is left, its largest packet makes the largest packet of the link, or nearly."""
    kind, header, protocol = DEVICES[outer, device]
    for node, ends in ((wire.sender, (0, 1)), (wire.receiver, (1, 0))):
        near, far = (OUTER[outer][end] for end in ends)
        address = DEVICE_ENDS[ends[0]]
        node.batch([f"link add t1 {kind.format(near, far)}", "link set t1 up", f"address add {address}/24 dev t1"])
    for suite in ("aes256gcm16", "aes128-sha256", "3des-md5", "null-sha1"):
        sa = Sa(suite, outer, encap, Mode.TRANSPORT, selector=f"proto {protocol}")
        put(wire, sa, both=True)
        for mtu in (1500, 1492, 1400, 4352):
            wire.link(mtu)
            size = sa.fits(mtu) - header
            settle(wire.sender, size)
            wire.silent()
            wire.send(*DEVICE_ENDS, size)
            assert wire.arrives(4, size), (suite, mtu, size)
            assert wire.on_the_wire(outer) == sa.size(size + header) <= mtu
            assert sa.size(size + header + 1) > mtu, "the next byte would not fit"
            with pytest.raises(OSError) as refused:
                wire.send(*DEVICE_ENDS, size + 1)
            assert refused.value.errno == errno.EMSGSIZE


def settle(node: Namespace, mtu: int) -> None:
    node.batch([f"link set t1 mtu {mtu}"])
