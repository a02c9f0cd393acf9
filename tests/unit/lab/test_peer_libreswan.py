"""libreswan's configuration: what a tunnel becomes in its words."""

from dataclasses import replace

from xfrmctl.lab.peers.libreswan import esp, ike, render
from xfrmctl.lab.peers.peer import Credentials, PeerTunnel

TUNNEL = PeerTunnel(
    name="t1",
    local="172.16.2.1",
    remote="172.16.1.1",
    local_id="sun.example.org",
    remote_id="moon.example.org",
    psk="x",
    local_ts=["10.1.2.0/24"],
    remote_ts=["10.1.1.0/24"],
    ike="aes256gcm16-prfsha384-x25519",
    esp="aes256gcm16",
)


def test_proposals() -> None:
    assert ike("aes256-sha256-modp2048") == "aes256-sha2_256;dh14"
    assert ike("chacha20poly1305-prfsha512-ecp384") == "chacha20_poly1305-sha2_512;dh20"
    assert esp("aes256-sha512-x25519-noesn") == "aes256-sha2_512;dh31"


def test_pre_shared_key() -> None:
    lines = render(TUNNEL).splitlines()
    assert {"\tauthby=secret", "\tleftid=@sun.example.org", "\trightsubnet=10.1.1.0/24", "\tpfs=no"} <= set(lines)
    assert not any("cert" in line for line in lines)


def test_certificates() -> None:
    given = Credentials(name="rsa", kind="rsa", certificate="", key="", ca="")
    assert "\tauthby=rsa-sha2\n\t" in render(replace(TUNNEL, credentials=given))
    assert "\tauthby=rsa-sha1\n\t" in render(replace(TUNNEL, credentials=given, pss=False))
    assert "\tauthby=ecdsa\n" in render(replace(TUNNEL, credentials=replace(given, kind="ecdsa")))
    assert "\tleftcert=rsa\n" in render(replace(TUNNEL, credentials=given))
