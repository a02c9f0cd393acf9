"""The tests of the interop matrix, the same for every peer.

A test file names its peer, gives a fixture ``running`` with a bench, and takes the tests of :class:`Interop` over::

    class TestLibreswan(Interop):
        peer_name = "libreswan"
"""

import datetime
import functools
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.lab.bench import OUR_ID, PEER_ID, PSK, Bench, eventually
from tests.lab.matrix.cells import ESP, IKE, SELECTED, Cell, Event, PeerName, chosen, events, every
from tests.lab.matrix.facts import LOSES_WHEN_IT_REKEYS
from tests.pki import DAY, Issued, issue
from xfrmctl.lab import traffic
from xfrmctl.lab.counters import kernel_sas
from xfrmctl.lab.peers.peer import Credentials, KeyKind, PeerTunnel
from xfrmctl.model.snapshot import ChildInfo

START = datetime.datetime.now(datetime.UTC) - DAY
#: Column ``auth`` -> whose certificates, our kind of key, and the peer's word for it.
KEYS: dict[str, tuple[str, str, KeyKind]] = {
    "rsa": ("rsa", "rsa2048", "rsa"),
    "pss": ("rsa", "rsa2048", "rsa"),
    "p256": ("p256", "p256", "ecdsa"),
    "p384": ("p384", "p384", "ecdsa"),
    "ed25519": ("ed25519", "ed25519", "ed25519"),
    "large": ("large", "rsa2048", "rsa"),
}
#: Further names in a certificate make it large: these are 3,000 octets.
_MANY_NAMES = [f"a-rather-long-name-of-the-same-host-{n:03}.example.org" for n in range(60)]
#: Our ``auth:``.
_FILES = {"certificate": "moon.pem", "key": "moon.key", "ca": "ca.pem"}
#: The tunnel to which events happen; every peer can do it.
TUNNEL = Cell(
    auth="psk", group="x25519", ike="gcm", esp="cbc", family="4in4", path="direct", plane="policy", initiator="ours"
)
#: We ask after a second of silence, and give up after two more.
IMPATIENT = {"dpd": "1s", "retransmit": {"first": "1s", "factor": 1.1, "tries": 2, "max": "1s"}}


@functools.cache
def party(name: str, kind: str) -> tuple[Issued, Issued, Issued]:
    """A CA, our certificate and the peer's; the subjects differ, for NSS names certificates by them."""
    ca = issue(f"CA {name}", kind=kind, number=10, ca=True, start=START)
    more = _MANY_NAMES if name == "large" else []
    ours, theirs = (
        issue(f"{who} {name}", ca, kind=kind, number=number, names=[fqdn, *more], start=START)
        for number, (who, fqdn) in enumerate((("moon", OUR_ID), ("sun", PEER_ID)), 11 if name != "large" else 21)
    )
    return ca, ours, theirs


@functools.cache
def credentials(auth: str) -> Credentials | None:
    """What the peer authenticates itself with; None is the pre-shared key."""
    if auth == "psk":
        return None
    name, kind, word = KEYS[auth]
    ca, _, theirs = party(name, kind)
    return Credentials(name=name, kind=word, certificate=theirs.pem, key=theirs.key_pem, ca=ca.pem)


def all_credentials(peer: PeerName) -> list[Credentials]:
    """All that the cells and events of this peer need."""
    kinds = {cell.auth for cell in every(peer)} | {"large"}
    found = {kept.name: kept for auth in sorted(kinds) if (kept := credentials(auth))}
    return list(found.values())


class Arranger:
    """Gives both ends of a bench one tunnel."""

    def __init__(self, bench: Bench[Any], peer_name: PeerName) -> None:
        self._bench = bench
        self.peer_name = peer_name
        self._path = "direct"
        #: What the peer was told last.
        self.told: PeerTunnel

    def arrange(
        self,
        cell: Cell,
        *,
        pfs: str = "",
        ike: Mapping[str, Any] | None = None,
        child: Mapping[str, Any] | None = None,
        **peer: Any,
    ) -> None:
        """Configure both ends; ``ike`` and ``child`` go into ours, ``peer`` into what the peer is told."""
        bench, at, inner = self._bench, cell.outer // 6, cell.inner // 6
        self.translate(cell)
        name = bench.next_name()
        proposal, esp = f"{IKE[cell.ike]}-{cell.group}", ESP[cell.esp] + (pfs and f"-{pfs}")
        self.told = replace(
            PeerTunnel(
                name=name,
                local=bench.peer_outer[at],
                remote=self._seen(cell, bench.our_seen, "nat-us", "172.16.2.254", "fd16:2::fe"),
                local_id=PEER_ID,
                remote_id=OUR_ID,
                psk=PSK,
                credentials=credentials(cell.auth),
                pss=cell.auth != "rsa",
                local_ts=[bench.far[inner]],
                remote_ts=[bench.near[inner]],
                ike=proposal,
                esp=esp,
                active=cell.initiator == "peer",
            ),
            **peer,
        )
        bench.peer.tell(self.told)
        encap = "always" if cell.path == "encap" else "auto"
        bench.configure_ours(
            {
                "local": {"address": bench.our_outer[at], "id": f"fqdn:{OUR_ID}"},
                "remote": {
                    "address": self._seen(cell, bench.peer_seen, "nat-peer", "172.16.1.254", "fd16:1::fe"),
                    "id": f"fqdn:{PEER_ID}",
                },
                "auth": self._our_auth(cell.auth),
                "ike": {"proposals": [proposal], "dpd": "30s", "rekey": "4h", "encap": encap} | dict(ike or {}),
                "children": {
                    "net": {
                        "local_ts": [bench.near[inner]],
                        "remote_ts": [bench.far[inner]],
                        "esp": [esp],
                        "dataplane": cell.plane,
                        "start": "none",
                    }
                    | dict(child or {})
                },
            }
        )
        bench.forget_logs()

    @staticmethod
    def _seen(cell: Cell, plain: tuple[str, str], path: str, v4: str, v6: str) -> str:
        address = (v4, v6) if cell.path == path else plain
        return address[cell.outer // 6]

    def _our_auth(self, auth: str) -> dict[str, Any]:
        if auth == "psk":
            return {"psk": PSK}
        name, kind, word = KEYS[auth]
        ca, ours, _ = party(name, kind)
        for suffix, content in {"ca.pem": ca.pem, "moon.pem": ours.pem, "moon.key": ours.key_pem}.items():
            path = self._bench.ours.directory / f"{name}-{suffix}"
            path.touch(mode=0o600)
            path.write_text(content)
        mine: dict[str, Any] = {what: f"{name}-{file}" for what, file in _FILES.items()}
        return mine | ({"rsa": "pkcs1" if auth == "rsa" else "pss", "sha1": auth == "rsa"} if word == "rsa" else {})

    def translate(self, cell: Cell) -> None:
        """Make the router translate the addresses of the end that the cell wants behind a NAT box.

        The kernel keeps to what it has decided for a flow, whatever the rules say later. So what is not translated
        comes first, and no daemon has anything to say when the rules change.
        """
        behind = {"nat-us": (self._bench.our_outer, "rb", ("172.16.2.254", "[fd16:2::fe]"))}
        behind["nat-peer"] = (self._bench.peer_outer, "ra", ("172.16.1.254", "[fd16:1::fe]"))
        before, self._path = self._path, cell.path
        assert before not in behind or cell.path in behind, "cells with a NAT box come last"
        if cell.path == before or cell.path not in behind:
            return
        self._bench.peer.forget()
        eventually(lambda: not self._bench.connection().ike_sas, "nothing is left of the tunnel of before")
        router = self._bench.topology.ns("r")
        for tool, at in (("iptables", 0), ("ip6tables", 1)):
            source, out, target = behind[cell.path]
            rule = ["-A", "POSTROUTING", "-o", out, "-s", source[at], "-p", "udp", "-j", "SNAT"]
            router.run([tool, "-w", "-t", "nat", "-F"])
            router.run([tool, "-w", "-t", "nat", *rule, "--to-source", f"{target[at]}:32000-33000"])


class Interop:
    """The tests; a subclass in a test file runs them."""

    peer_name: ClassVar[PeerName]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        selected = os.environ.get(SELECTED)
        names = Path(selected).read_text().split() if selected else []
        cells = [c for c in every(self.peer_name) if c.id in set(names)] if selected else chosen(self.peer_name)
        for name, found in (("cell", cells), ("event", events(self.peer_name))):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, found, ids=[one.id for one in found])

    @pytest.fixture
    def bench(self, running: Bench[Any]) -> Iterator[Bench[Any]]:
        with running.told():
            yield running

    def test_event(
        self, bench: Bench[Any], arranger: Arranger, event: Event, record_property: Callable[[str, object], None]
    ) -> None:
        record_property("interop", f"{self.peer_name} event {event.id}")
        happens = {
            "rekey-child": rekey_child,
            "rekey-ike": rekey_ike,
            "delete-child": delete_child,
            "delete-ike": delete_ike,
            "fragments": fragments,
            "kill": kill,
        }[event.event]
        happens(bench, arranger, replace(TUNNEL, initiator=event.initiator), event.by)

    def test_cell(
        self, bench: Bench[Any], arranger: Arranger, cell: Cell, record_property: Callable[[str, object], None]
    ) -> None:
        record_property("interop", f"{self.peer_name} cell {cell.id}")
        record_property("version", bench.peer.version)
        arranger.arrange(cell)
        with bench.only_esp(udp=cell.path != "direct"):
            child = bring_up(bench, cell.initiator)
            bench.check_traffic((cell.inner,))
        assert child.suite == f"{ESP[cell.esp]}-noesn"
        assert child.dataplane == cell.plane
        (sa,) = bench.connection().ike_sas
        assert sa.initiator is (cell.initiator == "ours")
        assert str(sa.suite).endswith(cell.group)
        bench.no_alarm()


def rekey_child(bench: Bench[Any], arranger: Arranger, cell: Cell, by: str) -> None:
    """With PFS and under traffic: nothing is lost (but what the peer loses), and the SAs of before are gone."""
    arranger.arrange(cell, pfs="x25519", child_lifetime_s=10 if by == "peer" else None)
    with bench.only_esp(udp=False), bench.pinging() as ping:
        before = bring_up(bench, cell.initiator)
        ping.start()
        if by == "ours":
            result = bench.ours.client.rekey(bench.name, "net")
            assert result.ok, result.message
        else:
            bench.peer.rekey_child()
        eventually(
            lambda: spis(bench) != [] and before.inbound.spi not in spis(bench), "a new SA instead of the old one"
        )
        counted = ping.stop()
        assert counted.sent - counted.received <= (
            LOSES_WHEN_IT_REKEYS.get(arranger.peer_name, 0) if by == "peer" else 0
        )
        bench.check_traffic((4,))
    assert bench.children()[-1].suite.startswith(f"{ESP[cell.esp]}-x25519")


def rekey_ike(bench: Bench[Any], arranger: Arranger, cell: Cell, by: str) -> None:
    """Under traffic: nothing is lost, one IKE SA is left, and it has the same child."""
    # We give up soon, for iked does not answer the Delete of an IKE SA that it has initiated and we have rekeyed.
    arranger.arrange(cell, ike=IMPATIENT, ike_lifetime_s=4 if by == "peer" else None)
    with bench.only_esp(udp=False), bench.pinging() as ping:
        child = bring_up(bench, cell.initiator)
        (before,) = bench.connection().ike_sas
        ping.start()
        if by == "ours":
            result = bench.ours.client.rekey(bench.name)
            assert result.ok, result.message
        else:
            bench.peer.rekey_ike()
        eventually(
            lambda: before.spi_initiator not in [sa.spi_initiator for sa in bench.connection().ike_sas],
            "a new IKE SA instead of the old one",
        )
        eventually(lambda: len(bench.connection().ike_sas) == bench.peer.ike_sas() == 1, "one IKE SA each")
        assert ping.stop().loss == 0
        bench.check_traffic((4,))
    assert spis(bench) == [child.inbound.spi]


def delete_child(bench: Bench[Any], arranger: Arranger, cell: Cell, by: str) -> None:
    """Its SAs are gone on both ends, nothing leaves in clear, and it comes up again under the same IKE SA."""
    arranger.arrange(cell)
    with bench.only_esp(udp=False):
        child = bring_up(bench, cell.initiator)
        (before,) = bench.connection().ike_sas
        if by == "ours":
            bench.ours.client.down(bench.name, "net")
        else:
            bench.peer.delete_child()
        gone(bench, child)
        bring_up(bench, "ours")
        bench.check_traffic((4,))
    assert [sa.spi_initiator for sa in bench.connection().ike_sas] == [before.spi_initiator]


def delete_ike(bench: Bench[Any], arranger: Arranger, cell: Cell, by: str) -> None:
    """It is gone on both ends with its child, nothing leaves in clear, and the tunnel comes up again."""
    arranger.arrange(cell)
    with bench.only_esp(udp=False):
        child = bring_up(bench, cell.initiator)
        (before,) = bench.connection().ike_sas
        if by == "ours":
            bench.ours.client.down(bench.name)
        else:
            bench.peer.delete_ike()
        gone(bench, child)
        bring_up(bench, "ours")
        bench.check_traffic((4,))
    assert before.spi_initiator not in [sa.spi_initiator for sa in bench.connection().ike_sas]


def fragments(bench: Bench[Any], arranger: Arranger, cell: Cell, _by: str) -> None:
    """RFC 7383 both ways: IKE_AUTH of 4,000 octets, and no IP fragment of ours."""
    before = ip_fragments(bench)
    with small_path(bench):
        # With an MTU written down nothing is probed: probes that are too large would be counted as well.
        arranger.arrange(replace(cell, auth="large"), ike={"fragmentation": 576}, child={"mtu": 576})
        with bench.only_esp(udp=False, full_size=False):
            bring_up(bench, cell.initiator)
            assert traffic.ping(bench.near_ns, bench.far_host[0], interval_s=0.02).loss == 0
        cut = re.findall(r"([<>]) \S+ IKE_AUTH .*\((\d+) bytes in (\d+) fragments\)", bench.our_log())
        assert {way for way, size, number in cut if int(size) > 3000 and int(number) > 6} == {"<", ">"}, cut
        assert ip_fragments(bench) == before


@contextmanager
def small_path(bench: Bench[Any]) -> Iterator[None]:
    """576 bytes between the router and the peer while the block runs: by routes, for a link so small has no IPv6."""
    routes = (("r", "172.16.2.0/24 dev rb"), ("gb", "default via 172.16.2.254"))
    for node, route in routes:
        bench.topology.ns(node).batch([f"route change {route} mtu lock 576"])
    try:
        yield
    finally:
        for node, route in routes:
            bench.topology.ns(node).batch([f"route change {route}"])


def kill(bench: Bench[Any], arranger: Arranger, cell: Cell, _by: str) -> None:
    """A crash: we notice, nothing leaves in clear, and the peer's next life has its tunnel again."""
    arranger.arrange(cell, ike=IMPATIENT)
    bring_up(bench, cell.initiator)
    with bench.only_esp(esp=False):
        bench.peer.kill()
        eventually(lambda: not bench.children(), "we have given up", timeout_s=60)
        found = bench.connection().last_failure
        assert found is not None and found.code == "peer_dead"
        assert traffic.ping(bench.near_ns, bench.far_host[0], count=2, wait_s=0.2).received == 0
        bench.peer.namespace.batch(["xfrm state flush", "xfrm policy flush"])
    bench.peer.start()
    bench.peer.tell(arranger.told)
    with bench.only_esp(udp=False):
        bring_up(bench, cell.initiator)
        bench.check_traffic((4,))


def bring_up(bench: Bench[Any], initiator: str) -> ChildInfo:
    """Have one end initiate; the SAs are in the kernels of both ends when this returns (iked answers before)."""
    child = bench.bring_up(initiator)
    wanted = {int(child.inbound.spi, 16), int(child.outbound.spi, 16)}
    eventually(lambda: wanted <= {sa.spi for sa in kernel_sas(bench.peer.namespace)}, "the peer has its SAs")
    return child


def spis(bench: Bench[Any]) -> list[str]:
    """Our inbound SPIs."""
    return [child.inbound.spi for child in bench.children()]


def gone(bench: Bench[Any], child: ChildInfo) -> None:
    """This CHILD SA has left our API and the kernels of both ends."""

    def left() -> bool:
        numbers = {int(child.inbound.spi, 16), int(child.outbound.spi, 16)}
        kernel = kernel_sas(bench.ours.namespace) + kernel_sas(bench.peer.namespace)
        return child.inbound.spi in spis(bench) or any(sa.spi in numbers for sa in kernel)

    eventually(lambda: not left(), "its SAs are gone on both ends")


def ip_fragments(bench: Bench[Any]) -> int:
    """Packets from us that were too large for the next link: cut, or dropped for it."""
    found = 0
    for name in ("ga", "r"):
        text = bench.topology.ns(name).run(["cat", "/proc/net/snmp"]).stdout
        names, values = (line.split() for line in text.splitlines() if line.startswith("Ip:"))
        counters = dict(zip(names, values, strict=True))
        found += int(counters["FragOKs"]) + int(counters["FragFails"])
    return found
