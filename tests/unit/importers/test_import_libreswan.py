"""libreswan's ipsec.conf and ipsec.secrets."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.pki import key
from tests.unit.importers.imports import KEY, Importer, check_left_out, check_table
from xfrmctl.importers.dialects.tables_libreswan import CONN, END, SETUP
from xfrmctl.importers.words import algorithms

SECRETS = f'@moon.example.org @sun.example.org : PSK "{KEY}"\n'


def conf(*options: str, setup: str = "", more: str = "") -> str:
    lines = "\n".join(f"\t{option}" for option in options)
    return f"""\
version 2
config setup
\tprotostack=netkey
{setup}
conn net
\tikev2=insist
\tauthby=secret
\tleft=192.0.2.1
\tleftid=@moon.example.org
\tleftsubnet=10.1.0.0/16
\tright=198.51.100.1
\trightid=@sun.example.org
\trightsubnet=10.2.0.0/16
\tauto=add
{lines}
{more}
"""


@pytest.fixture
def with_secret(importer: Importer) -> Importer:
    importer.file("ipsec.secrets", SECRETS)
    return importer


def test_plutos_defaults_are_stated(with_secret: Importer) -> None:
    done = with_secret.text("ipsec.conf", conf(), "libreswan")
    net = done.connection("net")
    ike = net["ike"]
    assert (ike["rekey"], ike["dpd"], ike["mobike"]) == ("471m", "off", False)
    assert ike["retransmit"] == {"first": "500ms", "factor": 2, "tries": 6, "max": "32s"}  # 63.5 s; theirs is 60
    assert ike["proposals"][0] == "aes256gcm16-prfsha512-prfsha256-modp2048-modp3072-ecp256-ecp384-x25519"
    child = net["children"]["net"]
    assert (child["rekey"]["time"], child["lifetime"]["time"]) == ("471m", "8h")
    assert child["esp"][0] == "aes256gcm16-modp2048-modp3072-ecp256-ecp384-x25519-esn-noesn"  # pfs, esn=either
    assert "replay_window" not in child  # 128 at both
    assert done.imported.is_complete, done.decisions
    assert done.loaded["net"].psk == KEY.encode()


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("aes_gcm256-sha2_512;dh19", ["aes256gcm16-prfsha512-ecp256"]),
        ("aes_gcm_c_256-sha2_256;modp2048", ["aes256gcm16-prfsha256-modp2048"]),
        ("aes256-sha2;dh14+dh19", ["aes256-sha256-modp2048-ecp256"]),
        ("aes_cbc128-sha2_256-dh31", ["aes128-sha256-x25519"]),
        ("chacha20_poly1305-sha2_512;dh31", ["chacha20poly1305-prfsha512-x25519"]),
        ("aes_gcm+chacha20_poly1305-sha2_512;dh20", ["aes256gcm16-aes128gcm16-chacha20poly1305-prfsha512-ecp384"]),
        ("aes256-sha1;modp1024,aes256-sha2_256;dh14", ["aes256-sha256-modp2048"]),
        ("aes128-sha2_256;dh14+dh2", ["aes128-sha256-modp2048"]),
    ],
)
def test_proposals_of_ike(text: str, ours: list[str]) -> None:
    assert list(algorithms.pluto(text, algorithms.IKE).proposals) == ours


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("aes_gcm256", ["aes256gcm16-x25519-noesn"]),
        ("aes_gcm256-null", ["aes256gcm16-x25519-noesn"]),
        ("aes256-sha2_512-dh14", ["aes256-sha512-modp2048-noesn"]),
        ("aes128+aes256-sha2_256", ["aes128-aes256-sha256-x25519-noesn"]),
        ("aes256", ["aes256-sha512-sha256-x25519-noesn"]),
        ("3des-sha1", []),
    ],
)
def test_proposals_of_children(text: str, ours: list[str]) -> None:
    offer = algorithms.pluto(text, algorithms.ESP, groups=("x25519",), esn="noesn")
    assert list(offer.proposals) == ours and bool(offer.lost) is not bool(ours)


def test_pfs_esn_and_ah(with_secret: Importer) -> None:
    options = ("ike=aes256-sha2_256;dh14", "esp=aes_gcm256", "pfs=no", "esn=no")
    child = with_secret.text("a.conf", conf(*options), "libreswan").connection("net")["children"]["net"]
    assert child["esp"] == ["aes256gcm16-noesn"]
    options = ("ike=aes256-sha2_256;dh14", "phase2=ah", "phase2alg=sha2_512", "esn=yes")
    child = with_secret.text("b.conf", conf(*options), "libreswan").connection("net")["children"]["net"]
    assert child["ah"] == ["sha512-modp2048-esn"] and "esp" not in child


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (("salifetime=1h", "rekeymargin=5m"), ("rekey", "time"), "55m"),
        (("rekey=no",), ("rekey", "time"), "off"),
        (("ipsec-max-bytes=4GiB",), ("rekey", "bytes"), 2**30),
        (("ipsec-max-bytes=4GiB",), ("lifetime", "bytes"), 2**32),
        (("replay-window=64",), ("replay_window",), 64),
        (("nopmtudisc=yes",), ("df",), "clear"),
        (("decap-dscp=yes",), ("dscp", "inbound"), "copy"),
        (("mark=5/0xff",), ("mark", "outbound"), "0x5/0xff"),
        (("mark-in=6", "mark-out=7"), ("mark", "inbound"), "0x6"),
        (("ipsec-interface=3",), ("interface",), "ipsec3"),
        (("ipsec-interface=yes",), ("dataplane",), "interface"),
        (("vti-interface=vti9", "mark=9/0xffffffff"), ("interface",), "vti9"),
        (("nic-offload=auto",), ("offload",), "auto"),
        (("leftprotoport=gre", "rightprotoport=gre"), ("remote_ts",), ["10.2.0.0/16[gre]"]),
        (("leftprotoport=17/1701", "rightprotoport=17/%any"), ("local_ts",), ["10.1.0.0/16[17/1701]"]),
    ],
)
def test_options_of_a_child(
    with_secret: Importer, options: tuple[str, ...], key: tuple[str, ...], value: object
) -> None:
    done = with_secret.text("ipsec.conf", conf(*options), "libreswan")
    found = done.connection("net")["children"]["net"]
    for part in key:
        found = found[part]
    assert found == value
    assert not done.imported.problems, done.decisions


@pytest.mark.parametrize(
    ("options", "key", "value"),
    [
        (("ikelifetime=1h",), "rekey", "51m"),
        (("dpddelay=10", "dpdtimeout=60", "dpdaction=restart"), "dpd", "10s"),
        (("encapsulation=yes",), "encap", "always"),
        (("encapsulation=no",), "encap", "auto"),
        (("mobike=yes",), "mobike", True),
        (("fragmentation=no",), "fragmentation", "off"),
        (
            ("retransmit-interval=1000", "retransmit-timeout=15s"),
            "retransmit",
            {"first": "1s", "factor": 2, "tries": 3, "max": "8s"},
        ),
    ],
)
def test_options_of_the_ike_sa(with_secret: Importer, options: tuple[str, ...], key: str, value: object) -> None:
    done = with_secret.text("ipsec.conf", conf(*options), "libreswan")
    assert done.connection("net")["ike"][key] == value
    assert not done.imported.problems, done.decisions


def test_keepalive_is_for_all(with_secret: Importer) -> None:
    done = with_secret.text("ipsec.conf", conf(setup="\tkeep-alive=10"), "libreswan")
    assert done.connection("net")["ike"]["keepalive"] == "10s" and done.fate("keep-alive") == {"mapped"}


def test_several_subnets_are_a_child_for_each_pair(with_secret: Importer) -> None:
    text = conf("leftsubnets={10.1.0.0/16 10.5.0.0/16}", 'rightsubnets="10.2.0.0/16, 10.3.0.0/16"')
    text = text.replace("\tleftsubnet=10.1.0.0/16\n", "").replace("\trightsubnet=10.2.0.0/16\n", "")
    children = with_secret.text("ipsec.conf", text, "libreswan").connection("net")["children"]
    pairs = {name: (*child["local_ts"], *child["remote_ts"]) for name, child in children.items()}
    assert pairs == {
        "net-1": ("10.1.0.0/16", "10.2.0.0/16"),
        "net-2": ("10.1.0.0/16", "10.3.0.0/16"),
        "net-3": ("10.5.0.0/16", "10.2.0.0/16"),
        "net-4": ("10.5.0.0/16", "10.3.0.0/16"),
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("@sun.example.org", "fqdn:sun.example.org"),
        ("@[branch 7]", "keyid:branch 7"),
        ("@#6d6f6f6e", "keyid:moon"),
        ("carol@example.org", "email:carol@example.org"),
        ("203.0.113.7", "203.0.113.7"),
        ("%any", "any"),
    ],
)
def test_identities(with_secret: Importer, theirs: str, ours: str) -> None:
    text = conf().replace("rightid=@sun.example.org", f'rightid="{theirs}"')
    assert with_secret.text("ipsec.conf", text, "libreswan").connection("net")["remote"]["id"] == ours


def test_a_name_that_pluto_looks_up_is_to_be_decided(with_secret: Importer) -> None:
    text = conf().replace("rightid=@sun.example.org", "rightid=sun.example.org")
    done = with_secret.text("ipsec.conf", text, "libreswan")
    assert done.fate("rightid") == {"decide"} and "looks this name up" in done.why("rightid")
    assert done.connection("net")["remote"]["id"] == "fqdn:decide.invalid"


@pytest.mark.parametrize(
    ("auto", "start"), [("add", "none"), ("keep", "none"), ("ondemand", "trap"), ("start", "start")]
)
def test_auto(with_secret: Importer, auto: str, start: str) -> None:
    done = with_secret.text("ipsec.conf", conf().replace("auto=add", f"auto={auto}"), "libreswan")
    assert done.connection("net")["children"]["net"]["start"] == start


def test_the_end_that_is_any_is_the_remote_one(with_secret: Importer) -> None:
    text = conf().replace("left=192.0.2.1", "left=%any")
    net = with_secret.text("ipsec.conf", text, "libreswan").connection("net")
    assert net["local"]["address"] == "198.51.100.1" and net["remote"]["address"] == "any"
    text = conf().replace("right=198.51.100.1", "right=%defaultroute")
    net = with_secret.text("b.conf", text, "libreswan").connection("net")
    assert net["local"] == {"address": "any", "id": "fqdn:sun.example.org"}


def test_alsoflip_exchanges_the_ends(with_secret: Importer) -> None:
    text = (
        conf().replace("conn net", "conn peer").replace("\tauto=add\n", "") + "conn net\n\talsoflip=peer\n\tauto=add\n"
    )
    net = with_secret.text("ipsec.conf", text, "libreswan", ours=("198.51.100.1",)).connection("net")
    assert net["local"] == {"address": "198.51.100.1", "id": "fqdn:sun.example.org"}
    assert net["children"]["net"]["local_ts"] == ["10.2.0.0/16"]


def test_of_several_also_the_first_holds(with_secret: Importer) -> None:
    text = conf("also=one", "also=two", more="conn one\n\tdpddelay=5\nconn two\n\tdpddelay=9\n\tmobike=yes\n")
    ike = with_secret.text("ipsec.conf", text, "libreswan").connection("net")["ike"]
    assert (ike["dpd"], ike["mobike"]) == ("5s", True)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("ikev2=no",), "ikev2"),
        (("leftmodecfgserver=yes",), "leftmodecfgserver"),
        (("rightaddresspool=10.9.0.1-10.9.0.9",), "rightaddresspool"),
        (("authby=null",), "authby"),
        (("ppk=insist",), "ppk"),
        (("right=%opportunisticgroup",), "right"),
        (("leftautheap=tls",), "leftautheap"),
    ],
)
def test_connections_that_cannot_be_taken_over(with_secret: Importer, options: tuple[str, ...], word: str) -> None:
    check_left_out(with_secret, conf(*options), "libreswan", word)


def test_certificates_have_to_be_exported_from_nss(importer: Importer) -> None:
    text = conf("leftcert=moon", "rightca=%same").replace("authby=secret", "authby=rsa-sha2")
    done = importer.text("ipsec.conf", text, "libreswan")
    auth = done.connection("net")["auth"]
    assert auth == {"certificate": "certs/net.pem", "key": "keys/net.key", "ca": ["certs/ca-CA.pem"]}
    told = "\n".join(done.decisions)
    assert "certutil -L -d sql:/var/lib/ipsec/nss -n moon -a > certs/net.pem" in told
    assert "pk12util -o own.p12 -n moon" in told and "-out keys/net.key" in told


def test_raw_keys_of_the_peer_are_taken(importer: Importer) -> None:
    numbers = key("rsa2048", 31).public_key()
    assert isinstance(numbers, rsa.RSAPublicKey)
    modulus = numbers.public_numbers().n.to_bytes(256, "big")
    text = "0s" + base64.b64encode(b"\x03\x01\x00\x01" + modulus).decode()
    done = importer.text(
        "ipsec.conf", conf(f"rightrsasigkey={text}").replace("authby=secret", "authby=rsasig"), "libreswan"
    )
    assert done.connection("net")["auth"]["remote_pubkey"] == ["keys/net-peer.pub"]
    assert b"BEGIN PUBLIC KEY" in (done.target / "keys/net-peer.pub").read_bytes()


def test_transport_and_shunts(with_secret: Importer) -> None:
    text = conf("type=transport").replace("\tleftsubnet=10.1.0.0/16\n", "").replace("\trightsubnet=10.2.0.0/16\n", "")
    text += """
conn clear
\ttype=passthrough
\tauthby=never
\tleft=192.0.2.1
\tleftsubnet=10.1.0.0/16
\tright=0.0.0.0
\trightsubnet=10.9.0.0/16
\tauto=ondemand
"""
    done = with_secret.text("ipsec.conf", text, "libreswan", ours=("192.0.2.1",))
    assert done.connection("net")["children"]["net"]["mode"] == "transport"
    assert done.data["policies"]["clear"]["remote_ts"] == ["10.9.0.0/16"]
    assert done.imported.is_complete, done.decisions


def test_every_option_of_the_tables_is_read_or_told(with_secret: Importer) -> None:
    values = {
        "ikev2": "yes",
        "keyexchange": "ikev2",
        "type": "tunnel",
        "auto": "add",
        "authby": "secret",
        "also": "other",
    }
    values |= {"alsoflip": "other2", "ike": "aes256-sha2_256;dh14", "esp": "aes256-sha2_256", "phase2alg": "aes_gcm256"}
    values |= {
        "ah": "sha2_256",
        "phase2": "esp",
        "pfs": "no",
        "esn": "no",
        "rekey": "yes",
        "reauth": "no",
        "mobike": "no",
    }
    values |= {"rekeyfuzz": "50%", "ipsec-max-bytes": "4", "dpdaction": "restart", "encapsulation": "auto", "ppk": "no"}
    values |= {"forceencaps": "", "fragmentation": "yes", "nic-offload": "no", "nopmtudisc": "no", "decap-dscp": "no"}
    values |= {"ipsec-interface": "no", "vti-interface": "", "keylife": "", "lifetime": "", "salifetime": "1h"}
    values |= {"ikelifetime": "1h", "rekeymargin": "5m", "mark-in": "", "mark-out": "", "replay-window": "64"}
    values |= {"narrowing": "maybe", "mtu": "1400", "initial-contact": "maybe", "fake-strongswan": "maybe"}
    values |= {"ikepad": "maybe", "modecfgpull": "maybe", "nm-configured": "maybe", "sareftrack": "conntrack"}
    values |= {"overlapip": "maybe", "ignore-peer-dns": "maybe"}
    ends = {"host": "192.0.2.1", "id": "@moon.example.org", "auth": "secret", "subnet": "10.1.0.0/16", "subnets": ""}
    ends |= {
        "protoport": "tcp",
        "cert": "",
        "ca": "",
        "ckaid": "",
        "rsasigkey": "",
        "addresspool": "",
        "modecfgserver": "no",
    }
    ends |= {"modecfgclient": "no", "xauthserver": "no", "xauthclient": "no", "autheap": "none", "firewall": "yes"}
    setup = {"uniqueids": "yes", "keep-alive": "20", "oe": "yes"}

    def lines(table: object, given: dict[str, str], *sides: str) -> str:
        assert isinstance(table, dict)
        return "\n".join(
            f"\t{side}{'' if row == 'host' else row}={given.get(row, '3')}" for row in table for side in sides or ("",)
        )

    text = f"""
config setup
{lines(SETUP, setup)}
conn other
conn other2
conn net
{lines(CONN, values)}
{lines(END, ends, "left")}
{lines(END, ends | {"host": "198.51.100.1", "id": "@sun.example.org", "subnet": "10.2.0.0/16"}, "right")}
"""
    done = with_secret.text("ipsec.conf", text, "libreswan")
    check_table(done, CONN)
    check_table(done, END, "left", "right")
    check_table(done, SETUP)
