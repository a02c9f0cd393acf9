"""Imported tunnels against the daemons that they were written for.

What is imported is the file that the other product would have on our gateway: the peer's own, mirrored. With ipsec.conf
it is the very same text, and the import tells left from right by the addresses of the gateway.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bench import OUR_ID, PEER_ID, PSK
from tests.lab.bench import Bench as AnyBench
from tests.lab.interop import Bench, Leg, Tunnel
from tests.lab.test_interop_certificates import MOON, party
from xfrmctl.lab.peers import libreswan, swanctl
from xfrmctl.lab.peers.libreswan import Libreswan
from xfrmctl.lab.peers.peer import PeerTunnel
from xfrmctl.lab.topology import Topology

pytestmark = [pytest.mark.lab, pytest.mark.interop]

IKE, ESP = "aes256gcm16-prfsha384-ecp384", "aes256gcm16-ecp384"
SECRETS = f'@{OUR_ID} @{PEER_ID} : PSK "{PSK}"\n'


@pytest.fixture(scope="module")
def charon() -> Iterator[Bench]:
    with Bench.running() as made:
        yield made


@pytest.fixture(scope="module")
def pluto() -> Iterator[AnyBench[Libreswan]]:
    with Topology() as topology, AnyBench(topology, Libreswan).daemons() as made:
        yield made


def adopt(bench: AnyBench[Any], directory: Path, name: str, text: str, dialect: str) -> None:
    """Import a file on our gateway, as its operator would, and give our daemon the result."""
    file, target = directory / name, directory / "new"
    file.write_text(text)
    command = [sys.executable, "-m", "xfrmctl", "import", str(file), "--to", str(target), "--from", dialect, "--json"]
    done = bench.ours.namespace.run(command, check=False)
    assert json.loads(done.stdout)["ok"], done.stdout + done.stderr
    for part in ("secrets", "certs", "keys"):
        if (target / part).exists():
            shutil.copytree(target / part, bench.ours.directory / part, dirs_exist_ok=True)
    bench.ours.configure((target / "xfrmctl.yaml").read_text())
    result = bench.ours.client.reload()
    assert result.ok, result.message


def prove(bench: AnyBench[Any], child: str, families: Sequence[int] = (4,)) -> None:
    """Either end brings it up, and full-size packets pass, none of them in clear."""
    for initiator in ("ours", "peer"):
        with bench.told(), bench.only_esp():
            bench.bring_up(initiator, child)
            bench.check_traffic(families)
            bench.no_alarm()
        bench.ours.client.down(bench.name)


def test_swanctl_conf_against_charon(charon: Bench, tmp_path: Path) -> None:
    """The connection of the peer with both ends exchanged."""
    charon.arrange(Tunnel(ike=[IKE], legs=[Leg(esp=[ESP])]))
    child = swanctl.Child(local_ts=charon.near, remote_ts=charon.far, esp_proposals=[ESP], extra=("life_time = 33m",))
    ours = swanctl.Connection(
        name=charon.name,
        local=charon.our_outer[0],
        remote=charon.peer_seen[0],
        psk=PSK,
        local_id=OUR_ID,
        remote_id=PEER_ID,
        proposals=[IKE],
        children=[child],
    )
    adopt(charon, tmp_path, "swanctl.conf", swanctl.render([ours]), "swanctl")
    prove(charon, "net", (4, 6))


def test_certificates_of_swanctl_against_charon(charon: Bench, tmp_path: Path) -> None:
    """Certificate, key and CA are found where swanctl has them; the peer is named by its subject, with slashes."""
    both = party("import", "p256")
    both.install(charon)
    named = {"charon_id": '"C=XX, O=Lab, CN=sun"', "we_expect": "dn:C=XX,O=Lab,CN=sun"}
    charon.arrange(both.tunnel(ike=[IKE], legs=[Leg(esp=[ESP])], **named))
    for path, text in {
        "x509/m.pem": both.ours.pem,
        "x509ca/c.pem": both.ca.pem,
        "private/m": both.ours.key_pem,
    }.items():
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(text)
    child = swanctl.Child(local_ts=charon.near, remote_ts=charon.far, esp_proposals=[ESP])
    ours = swanctl.Connection(
        name=charon.name,
        local=charon.our_outer[0],
        remote=charon.peer_seen[0],
        local_id=MOON,
        remote_id='"/C=XX/O=Lab/CN=sun"',
        local_auth=("auth = pubkey", "certs = m.pem"),
        remote_auth=("auth = pubkey", "cacerts = c.pem"),
        proposals=[IKE],
        children=[child],
    )
    adopt(charon, tmp_path, "swanctl.conf", swanctl.render([ours]), "swanctl")
    prove(charon, "net")


def test_ipsec_conf_against_charon(charon: Bench, tmp_path: Path) -> None:
    """The old form of the same: default proposals on our side, of which charon takes one; left is the peer."""
    charon.arrange(Tunnel(ike=[IKE], legs=[Leg(esp=[ESP])]))
    text = f"""\
config setup
    uniqueids=no
conn %default
    keyexchange=ikev2
    authby=secret
conn ends
    left={charon.peer_outer[0]}
    leftid=@{PEER_ID}
    right={charon.our_outer[0]}
    rightid=@{OUR_ID}
conn {charon.name}
    also=ends
    leftsubnet={",".join(charon.far)}
    rightsubnet={",".join(charon.near)}
    ike={IKE}
    esp={ESP}
    auto=add
"""
    (tmp_path / "ipsec.secrets").write_text(SECRETS)
    adopt(charon, tmp_path, "ipsec.conf", text, "strongswan")
    with charon.told(), charon.only_esp():
        charon.bring_up("ours", charon.name)
        charon.check_traffic((4,))


def test_vyos_against_charon(charon: Bench, tmp_path: Path) -> None:
    """VyOS runs charon."""
    charon.arrange(Tunnel(ike=[IKE], legs=[Leg(esp=[ESP])]))
    ipsec, peer = "set vpn ipsec", f"set vpn ipsec site-to-site peer {charon.name}"
    sides = (("local", charon.near), ("remote", charon.far))
    text = f"""\
{ipsec} authentication psk LAB id '{OUR_ID}'
{ipsec} authentication psk LAB id '{PEER_ID}'
{ipsec} authentication psk LAB secret '{PSK}'
{ipsec} ike-group IKE key-exchange 'ikev2'
{ipsec} ike-group IKE proposal 1 dh-group '20'
{ipsec} ike-group IKE proposal 1 encryption 'aes256gcm128'
{ipsec} ike-group IKE proposal 1 hash 'sha384'
{ipsec} esp-group ESP pfs 'enable'
{ipsec} esp-group ESP proposal 1 encryption 'aes256gcm128'
{ipsec} esp-group ESP proposal 1 hash 'sha384'
{peer} authentication mode 'pre-shared-secret'
{peer} authentication local-id '{OUR_ID}'
{peer} authentication remote-id '{PEER_ID}'
{peer} connection-type 'none'
{peer} ike-group 'IKE'
{peer} default-esp-group 'ESP'
{peer} local-address '{charon.our_outer[0]}'
{peer} remote-address '{charon.peer_seen[0]}'
"""
    text += "".join(f"{peer} tunnel 0 {side} prefix '{net}'\n" for side, nets in sides for net in nets)
    adopt(charon, tmp_path, "commands.txt", text, "vyos")
    with charon.told(), charon.only_esp():
        charon.bring_up("ours", "tunnel-0")
        charon.check_traffic((4,))


def test_ipsec_conf_against_pluto(pluto: AnyBench[Libreswan], tmp_path: Path) -> None:
    """The very file that pluto has: nothing is exchanged, the addresses say who is who."""
    pluto.next_name()
    tunnel = PeerTunnel(
        name=pluto.name,
        local=pluto.peer_outer[0],
        remote=pluto.our_seen[0],
        local_id=PEER_ID,
        remote_id=OUR_ID,
        psk=PSK,
        local_ts=pluto.far[:1],
        remote_ts=pluto.near[:1],
        ike="aes256gcm16-prfsha512-ecp256",
        esp="aes256gcm16-ecp256",
    )
    pluto.peer.tell(tunnel)
    (tmp_path / "ipsec.secrets").write_text(SECRETS)
    text = libreswan.render(tunnel).replace("auto=ignore", "auto=add")
    adopt(pluto, tmp_path, "ipsec.conf", text, "libreswan")
    prove(pluto, pluto.name)
