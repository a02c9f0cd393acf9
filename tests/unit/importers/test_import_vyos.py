"""VyOS's vpn ipsec: config.boot of 1.4, and set commands of 1.3."""

import base64

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.pki import issue, root
from tests.unit.importers.imports import KEY, Done, Importer
from xfrmctl.importers.dialects.tables_vyos import ESP_GROUP, IKE_GROUP, OTHER, PEER
from xfrmctl.importers.origin import ImportFault
from xfrmctl.importers.report import Fate

BOOT = f"""\
interfaces {{
    ethernet eth0 {{
        address 192.0.2.1/24
    }}
    vti vti10 {{
        address 10.255.0.1/30
    }}
}}
vpn {{
    ipsec {{
        authentication {{
            psk BRANCH {{
                id 192.0.2.1
                id 198.51.100.1
                secret "{KEY}"
            }}
        }}
        esp-group ESP {{
            lifetime 3300
            pfs enable
            proposal 10 {{
                encryption aes256gcm128
                hash sha256
            }}
            proposal 20 {{
                encryption aes256
                hash sha512
            }}
        }}
        ike-group IKE {{
            close-action start
            dead-peer-detection {{
                action restart
                interval 20
            }}
            disable-mobike
            key-exchange ikev2
            lifetime 10800
            proposal 10 {{
                dh-group 19
                encryption aes256gcm128
                hash sha384
                prf prfsha384
            }}
        }}
        interface eth0
        site-to-site {{
            peer BRANCH {{
                authentication {{
                    local-id 192.0.2.1
                    mode pre-shared-secret
                    remote-id 198.51.100.1
                }}
                connection-type respond
                default-esp-group ESP
                ike-group IKE
                local-address 192.0.2.1
                remote-address 198.51.100.1
                tunnel 1 {{
                    local {{
                        prefix 10.1.0.0/16
                        prefix 10.4.0.0/16
                    }}
                    remote {{
                        prefix 10.2.0.0/16
                    }}
                }}
                tunnel 2 {{
                    disable
                    local {{
                        prefix 10.1.0.0/16
                    }}
                    remote {{
                        prefix 10.3.0.0/16
                    }}
                }}
            }}
        }}
    }}
}}
/* a comment
   on two lines */
// vyos-config-version: "ipsec@13"
"""

PEER_13 = "vpn ipsec site-to-site peer 198.51.100.1"
SET = f"""\
set interfaces ethernet eth0 address '192.0.2.1/24'
set vpn ipsec esp-group ESP compression 'disable'
set vpn ipsec esp-group ESP lifetime '1800'
set vpn ipsec esp-group ESP mode 'tunnel'
set vpn ipsec esp-group ESP pfs 'dh-group14'
set vpn ipsec esp-group ESP proposal 1 encryption 'aes256'
set vpn ipsec esp-group ESP proposal 1 hash 'sha256'
set vpn ipsec ike-group IKE ikev2-reauth 'no'
set vpn ipsec ike-group IKE key-exchange 'ikev2'
set vpn ipsec ike-group IKE lifetime '3600'
set vpn ipsec ike-group IKE proposal 1 dh-group '14'
set vpn ipsec ike-group IKE proposal 1 encryption 'aes256'
set vpn ipsec ike-group IKE proposal 1 hash 'sha256'
set vpn ipsec ike-group IKE proposal 2 dh-group '2'
set vpn ipsec ike-group IKE proposal 2 encryption '3des'
set vpn ipsec ike-group IKE proposal 2 hash 'md5'
set vpn ipsec ipsec-interfaces interface 'eth0'
set {PEER_13} authentication id '192.0.2.1'
set {PEER_13} authentication mode 'pre-shared-secret'
set {PEER_13} authentication pre-shared-secret '{KEY}'
set {PEER_13} ike-group 'IKE'
set {PEER_13} local-address '192.0.2.1'
set {PEER_13} tunnel 0 allow-nat-networks 'disable'
set {PEER_13} tunnel 0 esp-group 'ESP'
set {PEER_13} tunnel 0 local prefix '10.1.0.0/16'
set {PEER_13} tunnel 0 remote prefix '10.2.0.0/16'
"""


def told(done: Done) -> set[int]:
    return {e.place.line for e in done.imported.report.entries if e.place}


def test_config_boot(importer: Importer) -> None:
    done = importer.text("config.boot", BOOT)
    assert done.imported.is_complete, done.decisions
    peer = done.connection("BRANCH")
    assert peer["local"] == {"address": "192.0.2.1", "id": "192.0.2.1"}
    assert peer["ike"] == {
        "proposals": ["aes256gcm16-prfsha384-ecp256"],
        "rekey": "3h",
        "dpd": "20s",
        "mobike": False,
    }
    assert list(peer["children"]) == ["tunnel-1"]
    child = peer["children"]["tunnel-1"]
    assert (child["local_ts"], child["remote_ts"]) == (["10.1.0.0/16", "10.4.0.0/16"], ["10.2.0.0/16"])
    assert child["esp"] == ["aes256gcm16-ecp256", "aes256-sha512-ecp256"]
    assert (child["rekey"]["time"], child["lifetime"]["time"]) == ("50m", "55m")
    assert (child["start"], child["replay_window"]) == ("trap", 32)
    assert done.loaded["BRANCH"].psk == KEY.encode()


def test_every_line_of_vpn_ipsec_is_in_the_report(importer: Importer) -> None:
    done = importer.text("config.boot", BOOT)
    lines = BOOT.splitlines()
    inside = range(lines.index("vpn {") + 1, lines.index("/* a comment"))
    wanted = {n for n in inside if (words := lines[n].split()) and words[-1] not in ("{", "}")}
    assert {n + 1 for n in wanted} <= told(done)
    assert KEY not in str(done.imported.report.plain()) + done.imported.text


def test_set_commands_of_1_3(importer: Importer) -> None:
    done = importer.text("commands.txt", SET)
    peer = done.connection("198.51.100.1")
    assert peer["remote"] == {"address": "198.51.100.1"}
    assert peer["ike"]["proposals"] == ["aes256-sha256-modp2048"]
    assert peer["ike"]["rekey"] == "1h"
    child = peer["children"]["tunnel-0"]
    assert child["esp"] == ["aes256-sha256-modp2048"] and child["start"] == "start"
    assert (child["rekey"]["time"], child["lifetime"]["time"]) == ("1636s", "30m")
    assert done.loaded["198.51.100.1"].psk == KEY.encode()
    assert done.imported.is_complete, done.decisions
    numbers = {n for n, line in enumerate(SET.splitlines(), 1) if "vpn ipsec" in line}
    assert numbers <= told(done)


def test_the_two_forms_are_the_same(importer: Importer) -> None:
    commands: list[str] = []
    path: list[str] = []
    for line in BOOT.partition("/*")[0].splitlines():
        words = line.split(maxsplit=1)
        if words == ["}"]:
            path.pop()
        elif line.endswith("{"):
            path.append(line.strip(" {"))
        elif words:
            commands.append(" ".join(["set", *path, *words]))
    boot, text = importer.text("config.boot", BOOT), importer.text("commands.txt", "\n".join(commands))
    assert boot.data == text.data


@pytest.mark.parametrize(
    ("old", "new", "key", "value"),
    [
        ("disable-mobike", "mobike disable", "mobike", False),
        ("disable-mobike", "mobike enable", "mobike", True),
        ("disable-mobike", "ikev2-reauth", "reauth", "3h"),
        ("disable-mobike", "ikev2-reauth yes", "reauth", "3h"),
        ("disable-mobike", "ikev2-reauth no", "reauth", "off"),
        ("peer BRANCH {\n", "peer BRANCH {\n childless force\n", "childless", "force"),
    ],
)
def test_words_that_are_options_and_words_that_are_values(
    importer: Importer, old: str, new: str, key: str, value: object
) -> None:
    """``disable`` is both; ``ikev2-reauth`` has a value until 1.3, and none from 1.4 on."""
    done = importer.text("config.boot", BOOT.replace(old, new))
    assert done.connection("BRANCH")["ike"].get(key) == value
    assert "unknown" not in done.fate(key) | done.fate(new.split(maxsplit=1)[0])


def test_a_vti_is_an_interface(importer: Importer) -> None:
    text = BOOT.replace("default-esp-group ESP", "vti {\n bind vti10\n esp-group ESP\n }")
    text = text[: text.index("tunnel 1 {")] + "}\n}\n}\n}\n"
    done = importer.text("config.boot", text)
    child = done.connection("BRANCH")["children"]["vti"]
    assert (child["dataplane"], child["interface"]) == ("interface", "vti10")
    assert child["local_ts"] == child["remote_ts"] == ["0.0.0.0/0", "::/0"]
    assert done.imported.is_complete, done.decisions
    assert "ip address add ADDRESS dev vti10" in done.why("interfaces vti vti10 address")


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("key-exchange ikev2", "key-exchange ikev1", "IKEv1"),
        ("connection-type respond", "disable", "disabled"),
        ("connection-type respond", "virtual-address 10.9.0.1", "virtual addresses"),
    ],
)
def test_peers_that_cannot_be_taken_over(importer: Importer, old: str, new: str, cause: str) -> None:
    done = importer.text("config.boot", BOOT.replace(old, new))
    assert "connections" not in done.data
    assert any(cause in line for line in done.decisions)


def test_remote_access_and_dmvpn_are_told(importer: Importer) -> None:
    more = """
set vpn ipsec remote-access connection rw pool 'p'
set vpn ipsec profile NHRP bind tunnel 'tun0'
set vpn ipsec log level '2'
set vpn ipsec colour 'red'
"""
    done = importer.text("commands.txt", SET + more)
    fates = {e.option: e.fate.value for e in done.imported.report.entries}
    assert fates["vpn ipsec remote-access connection rw pool"] == "dropped"
    assert fates["vpn ipsec profile NHRP bind tunnel"] == "dropped"
    assert (fates["vpn ipsec log level"], fates["vpn ipsec colour"]) == ("dropped", "unknown")


def test_certificates_of_pki_become_files(importer: Importer) -> None:
    ca = root(common="VyOS CA")
    left = issue("left.example.org", ca, names=["left.example.org"], number=41)
    private = left.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    key = base64.b64encode(private).decode()
    lines = [line for line in SET.splitlines() if "pre-shared-secret" not in line and " id '" not in line]
    lines += [
        f"set pki ca CA certificate '{base64.b64encode(ca.der).decode()}'",
        f"set pki certificate LEFT certificate '{base64.b64encode(left.der).decode()}'",
        f"set pki certificate LEFT private key '{key}'",
        f"set {PEER_13} authentication mode x509",
        f"set {PEER_13} authentication x509 certificate 'LEFT'",
        f"set {PEER_13} authentication x509 ca-certificate 'CA'",
        f"set {PEER_13} authentication local-id 'left.example.org'",
        f"set {PEER_13} authentication remote-id 'right.example.org'",
    ]
    done = importer.text("commands.txt", "\n".join(lines))
    assert done.imported.is_complete, done.decisions
    assert set(done.connection("198.51.100.1")["auth"]) == {"certificate", "key", "ca", "fetch"}
    assert key[:40] not in str(done.imported.report.plain()) + done.imported.text


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("vpn {\n ipsec {\n", "no end"),
        ("vpn {\n}\n}\n", "without its {"),
        ("vpn {\n a { b\n}\n", "a brace where none"),
        ("set vpn ipsec a 'b\n", "without its end"),
        ("set vpn ipsec a b\nshow version\n", "no set command"),
        ("vpn {\n}\n/* open\n", "comment without"),
    ],
)
def test_faults(importer: Importer, text: str, cause: str) -> None:
    with pytest.raises(ImportFault, match=cause):
        importer.text("config.boot", text, "vyos")


VALUES = {
    **{"key-exchange": "ikev2", "ikev2-reauth": "no", "mobike": "enable", "close-action": "none", "mode": "tunnel"},
    **{"dead-peer-detection action": "clear", "pfs": "dh-group14", "authentication mode": "pre-shared-secret"},
    **{"local-address": "192.0.2.1", "remote-address": "198.51.100.1", "connection-type": "initiate"},
    **{"ike-group": "IKE", "default-esp-group": "ESP", "tunnel esp-group": "ESP", "vti esp-group": "ESP"},
    **{"force-encapsulation": "enable", "authentication local-id": "a.example.org"},
    **{"authentication remote-id": "b.example.org", "tunnel protocol": "tcp", "tunnel passthrough": "10.1.0.0/16"},
    **{"vti bind": "vti1", "compression": "enable", "virtual-address": "10.9.0.1", "nat-traversal": "disable"},
    **{f"tunnel {side} prefix": f"10.{n}.0.0/16" for n, side in enumerate(("local", "remote"), 6)},
    **{f"vti traffic-selector {side} prefix": "10.8.0.0/16" for side in ("local", "remote")},
    **{"tunnel allow-nat-networks": "enable", "tunnel allow-public-networks": "enable"},
    **dict.fromkeys(("disable", "tunnel disable", "disable-mobike", "disable-rekey", "disable-uniqreqids"), ""),
    **dict.fromkeys(("authentication use-x509-id", "force-udp-encapsulation"), ""),
}


@pytest.mark.parametrize(
    ("table", "where"),
    [
        (IKE_GROUP, "vpn ipsec ike-group IKE"),
        (ESP_GROUP, "vpn ipsec esp-group ESP"),
        (PEER, PEER_13),
        (OTHER, "vpn ipsec"),
    ],
    ids=["ike-group", "esp-group", "peer", "other"],
)
def test_every_option_of_the_tables_is_read_or_told(importer: Importer, table: object, where: str) -> None:
    """Each by itself, for many exclude each other."""
    assert isinstance(table, dict)
    for row, known in table.items():
        path = row.replace("proposal ", "proposal 1 ").replace("psk ", "psk NAME ")
        path = f"tunnel 0 {row.removeprefix('tunnel ')}" if row.startswith("tunnel ") else path
        line = f"set {where} {path} {VALUES.get(row, '3')}".rstrip()
        base = SET.splitlines()
        if row.startswith("vti"):
            base = [other for other in base if " tunnel 0 " not in other]
            base += [f"set {PEER_13} vti bind vti1", f"set {PEER_13} vti esp-group ESP"]
        base = [other for other in base if not other.startswith(f"set {where} {path} ")]
        done = importer.text("c.txt", "\n".join([line, *base]), "vyos")
        first = [e for e in done.imported.report.entries if e.place and e.place.line == 1]
        assert first, f"{line} is not in the report"
        unused = any("nothing that is taken over" in e.why or e.fate is Fate.UNKNOWN for e in first)
        assert not unused or row == "authentication psk secret", line  # the peer has one of its own
        if known.fate is Fate.DROPPED:
            assert any(e.fate is Fate.DROPPED for e in first), line
