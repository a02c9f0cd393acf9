"""swanctl.conf: identities, keys, addresses, several connections to one peer, and policies."""

import pytest

from tests.unit.importers.imports import Importer
from tests.unit.importers.swanctl_text import connection
from xfrmctl.model.iana import IdType
from xfrmctl.model.identity import IdentityPattern


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("sun.example.org", "fqdn:sun.example.org"),
        ("@sun.example.org", "fqdn:sun.example.org"),
        ("carol@example.org", "email:carol@example.org"),
        ("@@carol@example.org", "email:carol@example.org"),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("keyid:branch 7", "keyid:branch 7"),
        ("@#6d6f6f6e", "keyid:moon"),
        ("fqdn:#6d6f6f6e", "fqdn:moon"),
        ("ipv4:#cb007107", "203.0.113.7"),
        ("%any", "any"),
    ],
)
def test_identities(importer: Importer, theirs: str, ours: str) -> None:
    done = importer.text("swanctl.conf", connection(remote=f'id = "{theirs}"'))
    assert done.connection("net")["remote"]["id"] == ours
    assert not done.imported.problems, done.decisions


@pytest.mark.parametrize("theirs", ["ipv4:203.0.113.7", "@#ff00", "a*b.example.org", "C=CH, O, CN=x"])
def test_identities_that_cannot_be_written(importer: Importer, theirs: str) -> None:
    done = importer.text("swanctl.conf", connection(remote=f'id = "{theirs}"'))
    assert "decide" in done.fate("id")
    assert done.connection("net")["remote"]["id"] == "fqdn:decide.invalid"  # and not any: nobody gets in by mistake


def test_many_peers_with_keys_of_their_own(importer: Importer) -> None:
    text = connection(remote="id = *.branches.example.org").replace("remote_addrs = 198.51.100.1", "")
    more = """
secrets {
  ike-a {
    id = a.branches.example.org
    secret = 0sYSBsb25nIGFuZCBib3Jpbmcgc2VjcmV0
  }
  ike-b {
    id = b.branches.example.org
    secret = 0x00ff00ff00ff00ff00ff00ff00ff00ff
  }
  ike-c {
    id = c.elsewhere.example.org
    secret = another long and boring one
  }
}
"""
    done = importer.text("swanctl.conf", text + more)
    found = done.loaded["net"]
    assert isinstance(found.remote_pattern, IdentityPattern) and found.remote is None
    keys = {who.data: key for who, key in found.psks.items()}
    assert keys == {
        b"a.branches.example.org": b"a long and boring secret",
        b"b.branches.example.org": b"\x00\xff" * 8,
    }
    assert all(who.type == IdType.FQDN for who in found.psks)
    assert done.connection("net")["unique"] == "no"  # charon's default; ours would be replace
    assert done.connection("net")["children"]["net"].get("start", "none") == "none"


def test_the_key_whose_owners_fit_best_is_taken(importer: Importer) -> None:
    more = """
secrets {
  ike-other {
    id-1 = moon.example.org
    id-2 = mars.example.org
    secret = not this one, though it is long
  }
  ike-right {
    id-1 = moon.example.org
    id-2 = sun.example.org
    secret = the right one of them, and long
  }
}
"""
    text = connection(local="id = moon.example.org", remote="id = sun.example.org") + more
    assert importer.text("swanctl.conf", text).loaded["net"].psk == b"the right one of them, and long"


def test_a_missing_key_is_to_be_decided(importer: Importer) -> None:
    text = connection().replace("ike-net", "ike-net {\n id = mars.example.org\n }\n xauth-net")
    done = importer.text("swanctl.conf", text)
    assert any("no pre-shared key" in line for line in done.decisions)


def test_two_connections_to_one_peer_become_one(importer: Importer) -> None:
    text = connection() + connection("rekey_time = 1h").replace("  net {", "  other {", 1).replace("10.2.", "10.3.")
    done = importer.text("swanctl.conf", text)
    assert list(done.data["connections"]) == ["net"]
    assert {k: v["remote_ts"] for k, v in done.connection("net")["children"].items()} == {
        "net": ["10.2.0.0/16"],
        "net-2": ["10.3.0.0/16"],
    }
    assert not done.imported.problems
    assert "otherwise" in done.why("connections.other.rekey_time")


def test_shunts_become_policies(importer: Importer) -> None:
    text = (
        connection()
        + """
connections {
  around {
    remote_addrs = 127.0.0.1
    children {
      printers {
        local_ts = 10.1.0.0/16
        remote_ts = 10.9.0.0/24
        mode = pass
        start_action = trap
      }
      never {
        local_ts = 10.1.0.0/16
        remote_ts = 10.8.0.0/24[tcp/smtp]
        mode = drop
        start_action = trap
      }
      idle {
        local_ts = 10.1.0.0/16
        remote_ts = 10.7.0.0/24
        mode = pass
      }
    }
  }
}
"""
    )
    done = importer.text("swanctl.conf", text)
    assert done.data["policies"] == {
        "printers": {"action": "bypass", "local_ts": ["10.1.0.0/16"], "remote_ts": ["10.9.0.0/24"]},
        "never": {"action": "discard", "local_ts": ["10.1.0.0/16"], "remote_ts": ["10.8.0.0/24[tcp/25]"]},
    }
    assert list(done.data["connections"]) == ["net"] and done.imported.is_complete
    assert "not in force" in done.why("connections.around.children.idle.mode")


@pytest.mark.parametrize(
    ("addrs", "address", "fate"),
    [
        ("198.51.100.1", "198.51.100.1", "mapped"),
        ("%any", "any", "mapped"),
        ("2001:db8::1", "2001:db8::1", "mapped"),
        ("198.51.100.1, 198.51.100.9", "198.51.100.1", "changed"),
        ("198.51.100.0/24", "any", "changed"),
        ("vpn.example.org", "any", "decide"),
    ],
)
def test_addresses(importer: Importer, addrs: str, address: str, fate: str) -> None:
    text = connection().replace("remote_addrs = 198.51.100.1", f"remote_addrs = {addrs}")
    text = text.replace("local_addrs = 192.0.2.1", "") if ":" in addrs else text
    text = text.replace("auth = psk\n      \n    }\n    remote", "auth = psk\n id = moon.example.org\n }\n remote")
    done = importer.text("swanctl.conf", text)
    assert done.connection("net")["remote"]["address"] == address
    assert done.fate("remote_addrs") == {fate}
    assert not done.imported.problems, done.decisions


def test_dynamic_selectors_are_the_gateways_addresses(importer: Importer) -> None:
    text = (
        connection()
        .replace("local_ts = 10.1.0.0/16", "local_ts = dynamic[gre], 10.1.0.0/16")
        .replace("remote_ts = 10.2.0.0/16", "")
    )
    child = importer.text("swanctl.conf", text).connection("net")["children"]["net"]
    assert child["local_ts"] == ["192.0.2.1/32[gre]", "10.1.0.0/16"]
    assert child["remote_ts"] == ["198.51.100.1/32"]


def test_a_dynamic_selector_of_an_unknown_peer_is_to_be_decided(importer: Importer) -> None:
    text = connection().replace("remote_addrs = 198.51.100.1", "").replace("remote_ts = 10.2.0.0/16", "")
    done = importer.text("swanctl.conf", text)
    assert "connections" not in done.data
    assert any("remote.address does not tell" in line for line in done.decisions)
