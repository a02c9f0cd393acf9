"""OpenIKED's configuration: what a tunnel becomes in its words."""

from dataclasses import replace

import pytest

from tests.unit.lab.test_peer_libreswan import TUNNEL
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.peers.openiked import algorithms, render
from xfrmctl.lab.peers.peer import Credentials


def test_algorithms() -> None:
    assert algorithms("aes256gcm16-prfsha384-x25519") == "enc aes-256-gcm prf hmac-sha2-384 group curve25519"
    assert (
        algorithms("aes256-sha256-modp2048", prf=True)
        == "enc aes-256 auth hmac-sha2-256 prf hmac-sha2-256 group modp2048"
    )
    with pytest.raises(LabError, match="chacha20poly1305"):
        algorithms("chacha20poly1305")


def test_tunnel() -> None:
    text = render(replace(TUNNEL, esp="aes256-sha512", active=True, child_lifetime_s=4))
    assert text.startswith("set dpd_check_interval 0\n")
    for part in (
        'ikev2 "t1" active esp',
        "from 10.1.2.0/24 to 10.1.1.0/24",
        "childsa enc aes-256 auth hmac-sha2-512 noesn",
        "lifetime 4 bytes 1G",
        'psk "x"',
    ):
        assert part in text


def test_certificates() -> None:
    given = Credentials(name="rsa", kind="rsa", certificate="", key="", ca="")
    assert "psk" not in render(replace(TUNNEL, credentials=given))
    assert render(replace(TUNNEL, credentials=given, pss=False)).endswith("rsa\n")
