"""The tests of the interop matrix, the same for every peer.

A test file names its peer, gives a fixture ``running`` with a bench, and takes the tests of :class:`Interop` over::

    class TestLibreswan(Interop):
        peer_name = "libreswan"
"""

import datetime
import functools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from tests.lab.bench import OUR_ID, PEER_ID, PSK, Bench, eventually
from tests.lab.matrix.cells import ESP, IKE, Cell, PeerName, chosen, events, every
from tests.pki import DAY, Issued, issue
from xfrmctl.lab.peers.peer import Credentials, KeyKind, PeerTunnel

START = datetime.datetime.now(datetime.UTC) - DAY
#: Column ``auth`` -> our kind of key, and the peer's word for it.
KEYS: dict[str, tuple[str, KeyKind]] = {
    "rsa": ("rsa2048", "rsa"),
    "pss": ("rsa2048", "rsa"),
    "p256": ("p256", "ecdsa"),
    "p384": ("p384", "ecdsa"),
    "ed25519": ("ed25519", "ed25519"),
}

#: Our ``auth:``.
_FILES = {"certificate": "moon.pem", "key": "moon.key", "ca": "ca.pem"}


@functools.cache
def party(kind: str) -> tuple[Issued, Issued, Issued]:
    """A CA, our certificate and the peer's; the subjects differ, for NSS names certificates by them."""
    ca = issue(f"CA {kind}", kind=kind, number=10, ca=True, start=START)
    names = (("moon", OUR_ID), ("sun", PEER_ID))
    ours, theirs = (
        issue(f"{name} {kind}", ca, kind=kind, number=number, names=[fqdn], start=START)
        for number, (name, fqdn) in enumerate(names, 11)
    )
    return ca, ours, theirs


@functools.cache
def credentials(auth: str) -> Credentials | None:
    """What the peer authenticates itself with; None is the pre-shared key."""
    if auth == "psk":
        return None
    kind, word = KEYS[auth]
    ca, _, theirs = party(kind)
    return Credentials(name=kind, kind=word, certificate=theirs.pem, key=theirs.key_pem, ca=ca.pem)


def all_credentials(peer: PeerName) -> list[Credentials]:
    """All that cells of this peer need."""
    found = {kept.name: kept for cell in every(peer) if (kept := credentials(cell.auth))}
    return list(found.values())


class Arranger:
    """Gives both ends of a bench one tunnel."""

    def __init__(self, bench: Bench[Any]) -> None:
        self._bench = bench
        self._path = "direct"

    def arrange(
        self,
        cell: Cell,
        *,
        more: dict[str, Any] | None = None,
        dpd: str = "30s",
    ) -> None:
        """Configure both ends; ``more`` goes into our ``ike:``."""
        bench, at, inner = self._bench, cell.outer // 6, cell.inner // 6
        self.translate(cell)
        name = bench.next_name()
        ike, esp = f"{IKE[cell.ike]}-{cell.group}", ESP[cell.esp]
        bench.peer.tell(
            PeerTunnel(
                name=name,
                local=bench.peer_outer[at],
                remote=self._seen(cell, bench.our_seen, "nat-us", "172.16.2.254", "fd16:2::fe"),
                local_id=PEER_ID,
                remote_id=OUR_ID,
                psk=PSK,
                credentials=credentials(cell.auth),
                pss=cell.auth == "pss",
                local_ts=[bench.far[inner]],
                remote_ts=[bench.near[inner]],
                ike=ike,
                esp=esp,
                active=cell.initiator == "peer",
            )
        )
        encap = "always" if cell.path == "encap" else "auto"
        bench.configure_ours(
            {
                "local": {"address": bench.our_outer[at], "id": f"fqdn:{OUR_ID}"},
                "remote": {
                    "address": self._seen(cell, bench.peer_seen, "nat-peer", "172.16.1.254", "fd16:1::fe"),
                    "id": f"fqdn:{PEER_ID}",
                },
                "auth": self._our_auth(cell.auth),
                "ike": {"proposals": [ike], "dpd": dpd, "rekey": "4h", "encap": encap} | (more or {}),
                "children": {
                    "net": {
                        "local_ts": [bench.near[inner]],
                        "remote_ts": [bench.far[inner]],
                        "esp": [esp],
                        "dataplane": cell.plane,
                        "start": "none",
                    }
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
        kind, word = KEYS[auth]
        ca, ours, _ = party(kind)
        for suffix, content in {"ca.pem": ca.pem, "moon.pem": ours.pem, "moon.key": ours.key_pem}.items():
            path = self._bench.ours.directory / f"{kind}-{suffix}"
            path.touch(mode=0o600)
            path.write_text(content)
        mine: dict[str, Any] = {name: f"{kind}-{file}" for name, file in _FILES.items()}
        return mine | ({"rsa": "pss" if auth == "pss" else "pkcs1", "sha1": auth == "rsa"} if word == "rsa" else {})

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
        for name, found in (("cell", chosen(self.peer_name)), ("event", events(self.peer_name))):
            if name in metafunc.fixturenames:
                metafunc.parametrize(name, found, ids=[one.id for one in found])

    @pytest.fixture
    def bench(self, running: Bench[Any]) -> Iterator[Bench[Any]]:
        with running.told():
            yield running

    def test_cell(
        self, bench: Bench[Any], arranger: Arranger, cell: Cell, record_property: Callable[[str, object], None]
    ) -> None:
        record_property("interop", f"{self.peer_name} cell {cell.id}")
        arranger.arrange(cell)
        with bench.only_esp(udp=cell.path != "direct"):
            child = bench.bring_up(cell.initiator)
            bench.check_traffic((cell.inner,))
        assert child.suite == f"{ESP[cell.esp]}-noesn"
        assert child.dataplane == cell.plane
        (sa,) = bench.connection().ike_sas
        assert sa.initiator is (cell.initiator == "ours")
        assert str(sa.suite).endswith(cell.group)
