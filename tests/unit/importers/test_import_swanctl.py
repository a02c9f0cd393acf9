"""swanctl.conf of strongSwan: what its options become."""

import stat
from pathlib import Path

import pytest

from tests.unit.importers.imports import KEY, Importer, check_table, options_in, told_lines
from xfrmctl.importers.dialects.tables_swanctl import AUTHORITY, CHILD, CONNECTION, PROOF
from xfrmctl.importers.origin import ImportFault
from xfrmctl.model.iana import IdType
from xfrmctl.model.identity import IdentityPattern

SITES = f"""\
# two sites, one key
defaults {{
  version = 2
  proposals = aes256gcm16-prfsha384-ecp384, aes128-sha256-modp2048
  dpd_delay = 20s
}}
connections {{
  branch : defaults {{
    local_addrs = 192.0.2.1
    remote_addrs = 198.51.100.1
    local {{
      auth = psk
      id = moon.example.org
    }}
    remote {{
      auth = psk
      id = sun.example.org
    }}
    children {{
      lan {{
        local_ts = 10.1.0.0/16, fd00:1::/48
        remote_ts = 10.2.0.0/16, fd00:2::/48
        esp_proposals = aes256gcm16-ecp384-esn-noesn
        start_action = trap
        dpd_action = trap
      }}
    }}
  }}
}}
secrets {{
  ike-branch {{
    id-moon = moon.example.org
    id-sun = sun.example.org
    secret = "{KEY}"
  }}
}}
"""


def connection(options: str = "", child: str = "", local: str = "", remote: str = "", more: str = "") -> str:
    """One connection with further options, each on its line."""
    return f"""\
connections {{
  net {{
    version = 2
    local_addrs = 192.0.2.1
    remote_addrs = 198.51.100.1
    {options}
    local {{
      auth = psk
      {local}
    }}
    remote {{
      auth = psk
      {remote}
    }}
    children {{
      net {{
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
        {child}
      }}
    }}
  }}
}}
secrets {{
  ike-net {{
    secret = "{KEY}"
  }}
}}
{more}
"""


def test_two_sites_with_a_shared_key(importer: Importer) -> None:
    done = importer.text("swanctl.conf", SITES)
    assert done.imported.is_complete and not done.imported.problems
    assert done.connection("branch") == {
        "local": {"address": "192.0.2.1", "id": "fqdn:moon.example.org"},
        "remote": {"address": "198.51.100.1", "id": "fqdn:sun.example.org"},
        "auth": {"psk": "!file secrets/branch.psk"},
        "ike": {"proposals": ["aes256gcm16-prfsha384-ecp384", "aes128-sha256-modp2048"], "dpd": "20s"},
        "children": {
            "lan": {
                "local_ts": ["10.1.0.0/16", "fd00:1::/48"],
                "remote_ts": ["10.2.0.0/16", "fd00:2::/48"],
                "esp": ["aes256gcm16-ecp384-esn-noesn"],
                "start": "trap",
                "lifetime": {"time": "66m"},
                "replay_window": 32,
            }
        },
    }
    assert done.loaded["branch"].psk == KEY.encode()


def test_the_files_are_for_their_owner_only_and_nothing_shows_the_key(importer: Importer) -> None:
    done = importer.text("swanctl.conf", SITES)
    modes = {
        str(p.relative_to(done.target)): stat.S_IMODE(p.stat().st_mode) for p in done.target.rglob("*") if p.is_file()
    }
    assert modes == {"xfrmctl.yaml": 0o600, "secrets/branch.psk": 0o600, "import-report.txt": 0o644}
    assert stat.S_IMODE((done.target / "secrets").stat().st_mode) == 0o700
    shown = done.imported.text + (done.target / "import-report.txt").read_text() + repr(done.imported)
    assert KEY not in shown and KEY not in str(done.imported.report.plain())


def test_the_comments_say_where_each_value_comes_from(importer: Importer) -> None:
    lines = importer.text("swanctl.conf", SITES).imported.text.splitlines()
    dpd = next(line for line in lines if "dpd:" in line)
    assert dpd.split("#")[1].strip() == "swanctl.conf:5"
    assert next(line for line in lines if "replay_window" in line).endswith("# strongSwan's default")


def test_every_option_is_in_the_report(importer: Importer) -> None:
    file = importer.file("swanctl.conf", SITES)
    assert told_lines(importer.run(file), file) >= options_in(SITES)


def test_what_nobody_knows_is_unknown(importer: Importer) -> None:
    done = importer.text("swanctl.conf", connection("frobnicate = 7", child="colour = red"))
    assert done.fate("frobnicate") == done.fate("colour") == {"unknown"}
    assert done.imported.is_complete


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ("dpd_delay = 1m", "dpd", "1m"),
        ("", "dpd", "off"),
        ("encap = yes", "encap", "always"),
        ("mobike = no", "mobike", False),
        ("rekey_time = 2h", "rekey", "2h"),
        ("rekey_time = 0", "rekey", "off"),
        ("reauth_time = 3h", "reauth", "3h"),
        ("fragmentation = no", "fragmentation", "off"),
        ("childless = force", "childless", "force"),
    ],
)
def test_options_of_the_ike_sa(importer: Importer, options: str, key: str, value: object) -> None:
    done = importer.text("swanctl.conf", connection(options))
    assert done.connection("net")["ike"][key] == value
    assert not done.imported.problems
    if options:
        assert done.fate(options.split(maxsplit=1)[0]) == {"mapped"}


def test_reauthentication_takes_the_place_of_rekeying(importer: Importer) -> None:
    """strongSwan: rekey_time is 0 where reauth_time is set, unless both are."""
    assert importer.text("a.conf", connection("reauth_time = 3h"), "swanctl").connection("net")["ike"]["rekey"] == "off"
    both = importer.text("b.conf", connection("reauth_time = 3h\n rekey_time = 1h"), "swanctl").connection("net")["ike"]
    assert (both["rekey"], both["reauth"]) == ("1h", "3h")


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        ("rekey_time = 30m", ("rekey", "time"), "30m"),
        ("rekey_time = 30m", ("lifetime", "time"), "33m"),
        ("life_time = 66m", ("lifetime", "time"), "66m"),
        ("rekey_bytes = 1000000000", ("rekey", "bytes"), 1000000000),
        ("rekey_bytes = 1000000000", ("lifetime", "bytes"), 1100000000),
        ("rekey_packets = 1000", ("lifetime", "packets"), 1100),
        ("replay_window = 100", ("replay_window",), 128),
        ("replay_window = 0", ("replay_window",), "off"),
        ("hw_offload = yes", ("offload",), "crypto"),
        ("copy_df = no", ("df",), "clear"),
        ("copy_ecn = no", ("ecn",), "off"),
        ("copy_dscp = in", ("dscp", "inbound"), "copy"),
        ("copy_dscp = in", ("dscp", "outbound"), "none"),
        ("mark_in = 42", ("mark", "inbound"), "0x2a"),
        ("mark_out = 0x12a/0xff", ("mark", "outbound"), "0x2a/0xff"),
        ("set_mark_out = 7", ("set_mark", "outbound"), "0x7"),
        ("if_id_in = 5\n if_id_out = 5", ("if_id",), 5),
        ("ah_proposals = sha256-sha512", ("ah",), ["sha256-sha512"]),
        ("mode = transport", ("mode",), "transport-or-tunnel"),
    ],
)
def test_options_of_a_child(importer: Importer, options: str, key: tuple[str, ...], value: object) -> None:
    text = connection(child=options)
    if "transport" in options:
        text = text.replace("local_ts = 10.1.0.0/16", "").replace("remote_ts = 10.2.0.0/16", "")
    done = importer.text("swanctl.conf", text)
    found = done.connection("net")["children"]["net"]
    for part in key:
        found = found[part]
    assert found == value
    assert not done.imported.problems, done.decisions


def test_the_rekey_time_follows_from_the_life_time(importer: Importer) -> None:
    child = importer.text("swanctl.conf", connection(child="life_time = 33m")).connection("net")["children"]["net"]
    assert (child["rekey"]["time"], child["lifetime"]["time"]) == ("30m", "33m")


@pytest.mark.parametrize(
    ("child", "start", "fates"),
    [
        ("start_action = none", "none", {"mapped"}),
        ("start_action = trap", "trap", {"mapped"}),
        ("start_action = start", "start", {"changed"}),
        ("start_action = start\n close_action = start\n dpd_action = restart", "start", {"mapped"}),
        ("start_action = trap|start", "start", {"changed"}),
        ("", "none", set()),
    ],
)
def test_start_actions(importer: Importer, child: str, start: str, fates: set[str]) -> None:
    done = importer.text("swanctl.conf", connection(child=child))
    assert done.connection("net")["children"]["net"]["start"] == start
    assert done.fate("start_action") == fates


def test_an_action_that_brings_back_what_nobody_starts_is_told(importer: Importer) -> None:
    done = importer.text("swanctl.conf", connection(child="dpd_action = restart"))
    assert done.fate("dpd_action") == {"changed"} and "start: none" in done.why("dpd_action")


@pytest.mark.parametrize(
    "options", ["version = 1", "vips = 0.0.0.0", "pools = rw", "mediation = yes", "ppk_required = yes"]
)
def test_connections_that_cannot_be_taken_over(importer: Importer, options: str) -> None:
    text = connection(options).replace("    version = 2\n", "") if "version" in options else connection(options)
    file = importer.file("swanctl.conf", text)
    done = importer.run(file)
    assert "connections" not in done.data
    assert done.fate(options.split(maxsplit=1)[0]) == {"decide"}
    assert len(done.imported.left_out) == 1 and not done.imported.is_complete
    assert told_lines(done, file) >= options_in(text)


def test_eap_is_told(importer: Importer) -> None:
    text = connection().replace("remote {\n      auth = psk", "remote {\n      auth = eap-mschapv2")
    done = importer.text("swanctl.conf", text)
    assert "connections" not in done.data and "EAP" in done.why("auth")


def test_weak_algorithms_are_left_out_and_told(importer: Importer) -> None:
    done = importer.text("swanctl.conf", connection("proposals = aes256-sha256-modp2048-modp1024, 3des-md5-modp1024"))
    assert done.connection("net")["ike"]["proposals"] == ["aes256-sha256-modp2048"]
    assert done.fate("proposals") == {"changed"} and "modp1024 is too weak" in done.why("proposals")


def test_nothing_but_weak_algorithms_is_to_be_decided(importer: Importer) -> None:
    done = importer.text("swanctl.conf", connection("proposals = 3des-md5-modp1024"))
    assert done.fate("proposals") == {"decide"} and not done.imported.is_complete
    assert "proposals" not in done.connection("net")["ike"]


def test_the_wide_default_proposals_of_charon_are_stated(importer: Importer) -> None:
    net = importer.text("swanctl.conf", connection()).connection("net")
    assert any("aes192" in p and "sha512" in p for p in net["ike"]["proposals"])
    assert any("aes192gcm16" in p for p in net["children"]["net"]["esp"])


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


def test_a_later_value_replaces_the_former_and_that_is_told(importer: Importer) -> None:
    done = importer.text("swanctl.conf", connection("dpd_delay = 10s\n dpd_delay = 20s"))
    assert done.connection("net")["ike"]["dpd"] == "20s"
    assert done.fate("dpd_delay") == {"mapped", "dropped"}


def test_includes_and_references(importer: Importer) -> None:
    importer.file("conf.d/b.conf", "net : base.all {\n local_addrs = 192.0.2.1\n dpd_delay =\n}\n")
    importer.file("conf.d/secret.conf", f"ike {{\n secret = {KEY}\n}}\n")
    main = """
connections {
  include conf.d/b.conf
}
secrets {
  include conf.d/s*.conf
}
base {
  all : proof {
    remote_addrs = 198.51.100.1
    dpd_delay = 5s
    children {
      lan {
        local_ts = 10.1.0.0/16
        remote_ts = 10.2.0.0/16
      }
    }
  }
}
proof {
  local {
    auth = psk
  }
  remote {
    auth = psk
  }
}
"""
    done = importer.text("swanctl.conf", main)
    assert done.connection("net")["ike"]["dpd"] == "off"  # an empty value takes the inherited one away
    assert done.loaded["net"].psk == KEY.encode()
    assert done.imported.is_complete
    assert "conf.d/b.conf:2" in done.imported.text


def test_includes_lead_nowhere_else(importer: Importer, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.conf"
    elsewhere.write_text("connections {\n}\n")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "link.conf").symlink_to(elsewhere)
    text = f"include {elsewhere}\ninclude link.conf\ninclude ../elsewhere.conf\ninclude missing.conf\n{connection()}"
    done = importer.text("swanctl.conf", text)
    assert sum("it leads out of the directory" in line for line in done.decisions) == 3
    assert sum("there is no such file" in line for line in done.decisions) == 1
    assert list(done.data["connections"]) == ["net"]
    allowed = importer.run(tmp_path / "etc" / "swanctl.conf", follow=[tmp_path])
    assert sum("leads out" in line for line in allowed.decisions) == 0


def test_absolute_paths_start_at_the_root_of_a_copy(importer: Importer, tmp_path: Path) -> None:
    importer.file("swanctl/conf.d/a.conf", connection())
    main = importer.file("swanctl/swanctl.conf", "include /etc/swanctl/conf.d/*.conf\n")
    assert list(importer.run(main, root=tmp_path).data["connections"]) == ["net"]


def test_a_file_that_includes_itself_ends(importer: Importer) -> None:
    with pytest.raises(ImportFault, match=r"swanctl.conf:1: includes go deeper"):
        importer.text("swanctl.conf", "include swanctl.conf\n")


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("connections {\n a {\n", 2, "no end"),
        ("connections {\n}\n}\n", 3, "without its {"),
        ("connections {\n a { b = c }\n}\n", 2, "a brace in a value"),
        ("connections {\n secret\n}\n", 2, "without = or {"),
        ('connections {\n a = "b\n}\n', 2, "without its end"),
        ("connections {\n a : gone {\n }\n}\n", 2, "not there"),
        ("connections {\n a : connections.b {\n }\n b : connections.a {\n }\n}\n", 0, "circle"),
        ("connections {\n = x\n}\n", 2, "neither a name"),
    ],
)
def test_faults_have_file_and_line_and_never_the_text(importer: Importer, text: str, line: int, cause: str) -> None:
    with pytest.raises(ImportFault, match=cause) as caught:
        importer.text("swanctl.conf", text)
    assert caught.value.place.file.endswith("swanctl.conf")
    assert not line or caught.value.place.line == line


def test_every_option_of_the_tables_is_read_or_told(importer: Importer) -> None:
    """What a table says is read, is read; what it says is dropped, is dropped."""
    values = {"version": "2", "mode": "tunnel", "ppk_required": "no", "mediation": "no", "vips": "", "pools": ""}
    values |= {"mediated_by": "", "if_id_in": "7", "if_id_out": "7", "childless": "allow", "unique": "never"}
    values |= {"fragmentation": "accept", "revocation": "strict", "auth": "psk", "dscp": "000001"}
    values |= {"local_addrs": "192.0.2.1", "remote_addrs": "198.51.100.1", "proposals": "default"}
    values |= {"local_ts": "10.1.0.0/16", "remote_ts": "10.2.0.0/16", "esp_proposals": "default"}
    values |= {"ah_proposals": "default", "hw_offload": "packet", "copy_dscp": "yes", "start_action": "trap"}
    values |= {"close_action": "none", "dpd_action": "clear", "policies_fwd_out": "maybe", "id": "%any"}

    def lines(table: object, margin: str) -> str:
        assert isinstance(table, dict)
        return "\n".join(f"{margin}{name} = {values.get(name, '3')}" for name in table)

    text = f"""
connections {{
  net {{
{lines(CONNECTION, "    ")}
    local {{
      auth = psk
    }}
    remote {{
{lines({name: row for name, row in PROOF.items() if name != "file"}, "      ")}
      cacert1 {{
        file = /nowhere/ca.pem
        handle = 00
      }}
    }}
    children {{
      net {{
{lines(CHILD, "        ")}
      }}
    }}
  }}
}}
authorities {{
  ca {{
{lines(AUTHORITY, "    ")}
  }}
}}
secrets {{
  ike {{
    secret = "{KEY}"
  }}
}}
"""
    done = importer.text("swanctl.conf", text)
    for table in (CONNECTION, PROOF, CHILD, AUTHORITY):
        check_table(done, table)
