"""swanctl.conf of strongSwan: what its options become."""

import stat

import pytest

from tests.unit.importers.imports import KEY, Importer, check_table, options_in, told_lines
from tests.unit.importers.swanctl_text import SITES, connection
from xfrmctl.importers.dialects.tables_swanctl import AUTHORITY, CHILD, CONNECTION, PROOF


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
