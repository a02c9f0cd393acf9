"""strongSwan's ipsec.conf and ipsec.secrets."""

import pytest

from tests.pki import issue, root
from tests.unit.importers.imports import KEY, Importer, check_left_out, check_table, options_in, told_lines
from xfrmctl.importers.dialects.tables_strongswan import CA, CONN, END, SETUP
from xfrmctl.importers.origin import ImportFault

SECRETS = f'moon.example.org sun.example.org : PSK "{KEY}"\n'


def conf(*options: str, setup: str = "", more: str = "") -> str:
    lines = "\n".join(f"    {option}" for option in options)
    return f"""\
config setup
    {setup}
conn %default
    keyexchange=ikev2
    authby=secret
conn net
    left=192.0.2.1
    leftid=@moon.example.org
    leftsubnet=10.1.0.0/16
    right=198.51.100.1
    rightid=@sun.example.org
    rightsubnet=10.2.0.0/16
    auto=add
{lines}
{more}
"""


@pytest.fixture
def with_secret(importer: Importer) -> Importer:
    importer.file("ipsec.secrets", SECRETS)
    return importer


def test_lifetimes_have_their_margins(with_secret: Importer) -> None:
    """rekeytime = lifetime - (margintime + random); theirs reauthenticate unless told otherwise."""
    done = with_secret.text("ipsec.conf", conf(), "strongswan")
    net = done.connection("net")
    assert (net["ike"]["rekey"], net["ike"]["reauth"]) == ("off", "171m")
    child = net["children"]["net"]
    assert (child["rekey"]["time"], child["lifetime"]["time"]) == ("51m", "1h")
    assert done.imported.is_complete, done.decisions


@pytest.mark.parametrize(
    ("options", "rekey", "reauth", "child"),
    [
        (("reauth=no",), "171m", "off", "51m"),
        (("reauth=no", "ikelifetime=8h", "margintime=30m"), "450m", "off", "30m"),
        (("lifetime=20m", "rekeymargin=3m"), "off", "177m", "17m"),
        (("keylife=1.5h",), "off", "171m", "81m"),
        (("rekey=no",), "off", "off", "off"),
        (("lifetime=5m",), "off", "171m", "270s"),
    ],
)
def test_lifetime_arithmetic(
    with_secret: Importer, options: tuple[str, ...], rekey: str, reauth: str, child: str
) -> None:
    done = with_secret.text("ipsec.conf", conf(*options), "strongswan")
    ike = done.connection("net")["ike"]
    assert (ike.get("rekey", "4h"), ike.get("reauth")) == (rekey, reauth)
    assert done.connection("net")["children"]["net"]["rekey"]["time"] == child
    assert not done.imported.problems, done.decisions


def test_bytes_have_their_margins(with_secret: Importer) -> None:
    done = with_secret.text("ipsec.conf", conf("lifebytes=2000000", "marginbytes=500000"), "strongswan")
    child = done.connection("net")["children"]["net"]
    assert (child["rekey"]["bytes"], child["lifetime"]["bytes"]) == (1500000, 2000000)


@pytest.mark.parametrize(
    ("options", "dpd"),
    [
        ((), "off"),
        (("dpddelay=10s",), "off"),
        (("dpdaction=none", "dpddelay=10s"), "off"),
        (("dpdaction=restart",), "30s"),
        (("dpdaction=clear", "dpddelay=10s"), "10s"),
    ],
)
def test_liveness_is_off_unless_there_is_an_action(with_secret: Importer, options: tuple[str, ...], dpd: str) -> None:
    ike = with_secret.text("ipsec.conf", conf(*options), "strongswan").connection("net")["ike"]
    assert ike.get("dpd", "30s") == dpd


def test_without_an_exclamation_mark_charons_defaults_follow(with_secret: Importer) -> None:
    strict = with_secret.text("a.conf", conf("ike=aes256-sha256-ecp256!", "esp=aes256gcm16!"), "strongswan")
    assert strict.connection("net")["ike"]["proposals"] == ["aes256-sha256-ecp256"]
    assert strict.connection("net")["children"]["net"]["esp"] == ["aes256gcm16"]
    wide = with_secret.text("b.conf", conf("ike=aes256-sha256-ecp256"), "strongswan").connection("net")["ike"]
    assert wide["proposals"][0] == "aes256-sha256-ecp256" and len(wide["proposals"]) == 3


@pytest.mark.parametrize(("auto", "start"), [("add", "none"), ("route", "trap"), ("start", "start")])
def test_auto(with_secret: Importer, auto: str, start: str) -> None:
    done = with_secret.text("ipsec.conf", conf().replace("auto=add", f"auto={auto}"), "strongswan")
    assert done.connection("net")["children"]["net"]["start"] == start


def test_what_is_ignored_there_is_left_out_and_told(with_secret: Importer) -> None:
    done = with_secret.text("ipsec.conf", conf().replace("auto=add", "auto=ignore"), "strongswan")
    assert "connections" not in done.data and done.fate("auto") == {"dropped"}
    silent = with_secret.text("b.conf", conf().replace("    auto=add\n", ""), "strongswan")
    assert "connections" not in silent.data
    assert any("auto=ignore" in e.why for e in silent.told("conn net"))


def test_also_and_default(with_secret: Importer) -> None:
    text = (
        conf("also=first", "also=second", "ikelifetime=2h")
        + """
conn first
    ikelifetime=5h
    margintime=1m
    dpddelay=5s
conn second
    also=third
    margintime=2m
    dpdaction=clear
conn third
    mobike=no
"""
    )
    file = with_secret.file("ipsec.conf", text)
    done = with_secret.run(file, "strongswan")
    ike = done.connection("net")["ike"]
    assert ike["reauth"] == "118m"  # its own lifetime; of two margins that of the last also
    assert (ike["dpd"], ike["mobike"]) == ("5s", False)
    assert told_lines(done, file) >= options_in(text)
    assert "auto" not in done.why("conn third")


def test_also_in_a_circle_ends(importer: Importer) -> None:
    with pytest.raises(ImportFault, match="circle"):
        importer.text("ipsec.conf", "conn a\n also=b\nconn b\n also=a\n", "strongswan")
    with pytest.raises(ImportFault, match="not there"):
        importer.text("ipsec.conf", "conn a\n also=b\n", "strongswan")


def test_left_and_right_by_address(with_secret: Importer) -> None:
    file = with_secret.file("ipsec.conf", conf())
    here = with_secret.run(file, "strongswan", ours=("192.0.2.1",))
    there = with_secret.run(file, "strongswan", ours=("198.51.100.1", "10.2.0.1"))
    nowhere = with_secret.run(file, "strongswan", ours=("203.0.113.1",))
    assert here.connection("net")["local"]["id"] == "fqdn:moon.example.org"
    assert there.connection("net")["local"] == {"address": "198.51.100.1", "id": "fqdn:sun.example.org"}
    assert there.connection("net")["children"]["net"]["local_ts"] == ["10.2.0.0/16"]
    assert nowhere.connection("net") == here.connection("net")
    assert any("--local" in e.todo for e in nowhere.told("conn net")) and not here.told("conn net")
    assert there.loaded["net"].psk == KEY.encode()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("keyexchange=ikev1",), "keyexchange"),
        (("rightsourceip=10.9.0.0/24",), "rightsourceip"),
        (("leftsourceip=%config",), "leftsourceip"),
        (("rightauth=eap-mschapv2",), "rightauth"),
        (("authby=xauthpsk",), "authby"),
        (("rightauth2=psk",), "rightauth2"),
        (("mediation=yes",), "mediation"),
    ],
)
def test_connections_that_cannot_be_taken_over(with_secret: Importer, options: tuple[str, ...], word: str) -> None:
    check_left_out(with_secret, conf(*options), "strongswan", word)


def test_shunts_and_protocols(with_secret: Importer) -> None:
    text = (
        conf("leftprotoport=tcp", "rightprotoport=tcp/https", "type=tunnel")
        + """
conn local
    left=127.0.0.1
    leftsubnet=10.1.0.0/16
    rightsubnet=10.1.0.0/16
    authby=never
    type=passthrough
    auto=route
conn none
    left=127.0.0.1
    leftsubnet=10.1.0.0/16
    rightsubnet=10.66.0.0/16
    type=reject
    authby=never
    auto=route
"""
    )
    done = with_secret.text("ipsec.conf", text, "strongswan")
    child = done.connection("net")["children"]["net"]
    assert (child["local_ts"], child["remote_ts"]) == (["10.1.0.0/16[tcp]"], ["10.2.0.0/16[tcp/443]"])
    assert done.data["policies"]["local"]["action"] == "bypass"
    assert done.data["policies"]["none"]["action"] == "discard" and "changed" in done.fate("type")
    assert done.imported.is_complete, done.decisions


def test_transport_between_the_gateways(with_secret: Importer) -> None:
    text = (
        conf("type=transport").replace("    leftsubnet=10.1.0.0/16\n", "").replace("    rightsubnet=10.2.0.0/16\n", "")
    )
    child = with_secret.text("ipsec.conf", text, "strongswan").connection("net")["children"]["net"]
    assert child["mode"] == "transport-or-tunnel" and "local_ts" not in child


def test_certificates_keys_and_cas_where_they_are_kept(importer: Importer) -> None:
    ca = root(common="Starter CA")
    moon = issue("moon.example.org", ca, names=["moon.example.org"], number=21)
    importer.file("ipsec.d/certs/moonCert.pem", moon.pem)
    importer.file("ipsec.d/cacerts/caCert.pem", ca.pem)
    importer.file("ipsec.d/private/moonKey.pem", moon.key_pem)
    importer.file("ipsec.secrets", ": ECDSA moonKey.pem\n")
    text = (
        conf("authby=pubkey", "leftcert=moonCert.pem", setup="strictcrlpolicy=yes")
        + """
ca starter
    cacert=caCert.pem
    crluri=http://crl.example.org/starter.crl
    auto=add
ca unused
    cacert=gone.pem
    crluri=http://crl.example.org/unused.crl
"""
    )
    done = importer.text("ipsec.conf", text, "strongswan")
    assert done.connection("net")["auth"] == {
        "certificate": "certs/net.pem",
        "key": "keys/net.key",
        "ca": ["certs/ca-caCert.pem"],
        "revocation": "strict",
        "crl": ["http://crl.example.org/starter.crl"],
        "fetch": True,
    }
    assert done.imported.is_complete, done.decisions


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (': PSK "with spaces, and # and : inside"', b"with spaces, and # and : inside"),
        (": PSK 0x000102030405060708090a0b0c0d0e0f", bytes(range(16))),
        (": PSK 0sAAECAwQFBgcICQoLDA0ODw==", bytes(range(16))),
        (': PSK "0x000102030405060708090a0b0c0d0e0f"', b"0x000102030405060708090a0b0c0d0e0f"),
        (": PSK plain-without-quotes  # and a comment", b"plain-without-quotes"),
        ('198.51.100.1 sun.example.org\n   moon.example.org : PSK\n   "on three lines"', b"on three lines"),
        ('@sun.example.org @moon.example.org: PSK "colon at the name"', b"colon at the name"),
        (': PSK "\u00fcber den Berg und weit weg"', "\u00fcber den Berg und weit weg".encode()),
    ],
)
def test_spellings_of_secrets(importer: Importer, line: str, key: bytes) -> None:
    importer.file("ipsec.secrets", f"# secrets\n{line}\n")
    done = importer.text("ipsec.conf", conf(), "strongswan")
    assert done.loaded["net"].psk == key


def test_other_secrets_are_told(importer: Importer) -> None:
    importer.file("more.secrets", f'sun.example.org : PSK "{KEY}"\ncarol : EAP "{KEY} 2"\n')
    importer.file(
        "ipsec.secrets", 'include more.secrets\n: RSA moon.pem "passphrase"\n: P12 a.p12\n: PIN %smartcard 1\n'
    )
    done = importer.text("ipsec.conf", conf(), "strongswan")
    assert done.fate("EAP") == done.fate("PIN") == {"dropped"}
    assert done.fate("RSA") == {"changed"} and "decrypt" in done.why("RSA")
    assert done.loaded["net"].psk == KEY.encode()
    shown = str(done.imported.report.plain()) + done.imported.text
    assert KEY not in shown and "passphrase" not in shown


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("left=1\n", "neither a section"),
        (" left=1\n", "outside of any section"),
        ("conn a\n left\n", "no setting"),
        ('conn a\n left="x\n', "without its end"),
    ],
)
def test_faults_of_the_file(importer: Importer, text: str, cause: str) -> None:
    with pytest.raises(ImportFault, match=cause):
        importer.text("ipsec.conf", text, "strongswan")


@pytest.mark.parametrize("text", [': PSK "hidden\n', "moon sun PSK secret\n", ": PSK\n", "{ hidden\n"])
def test_faults_of_the_secrets_never_show_them(importer: Importer, text: str) -> None:
    importer.file("ipsec.secrets", text)
    with pytest.raises(ImportFault) as caught:
        importer.text("ipsec.conf", conf(), "strongswan")
    assert "hidden" not in str(caught.value) and "secret\n" not in str(caught.value)


def test_every_option_of_the_tables_is_read_or_told(with_secret: Importer) -> None:
    values = {"keyexchange": "ikev2", "type": "tunnel", "auto": "add", "authby": "secret", "mediation": "no"}
    values |= {"also": "other", "ike": "aes128-sha256-modp2048", "esp": "aes128gcm16", "ah": "sha256", "auth": "ah"}
    values |= {"dpdaction": "restart", "closeaction": "hold", "rekey": "yes", "reauth": "no", "fragmentation": "accept"}
    values |= {"rekeyfuzz": "50%", "mediated_by": "no", "lifebytes": "100", "lifepackets": "100", "mobike": "no"}
    values |= {"forceencaps": "no", "margintime": "", "lifetime": "", "mark_in": "", "mark_out": ""}
    values |= {"pfs": "maybe", "plutostart": "maybe"}
    ends = {"host": "192.0.2.1", "id": "@moon.example.org", "auth": "psk", "subnet": "10.1.0.0/16", "protoport": "tcp"}
    ends |= {
        "cert": "",
        "sigkey": "",
        "rsasigkey": "",
        "sourceip": "",
        "auth2": "",
        "firewall": "yes",
        "allowany": "yes",
    }
    setup = {"uniqueids": "yes", "strictcrlpolicy": "no"}
    authority = {"auto": "add", "also": "base"}

    def lines(table: object, given: dict[str, str], *sides: str) -> str:
        assert isinstance(table, dict)
        return "\n".join(
            f"    {side}{'' if row == 'host' else row}={given.get(row, '3')}"
            for row in table
            for side in sides or ("",)
        )

    text = f"""
config setup
{lines(SETUP, setup)}
ca base
ca full
{lines(CA, authority)}
conn other
conn net
{lines(CONN, values)}
{lines(END, ends, "left")}
{lines(END, ends | {"host": "198.51.100.1", "id": "@sun.example.org", "subnet": "10.2.0.0/16"}, "right")}
"""
    done = with_secret.text("ipsec.conf", text, "strongswan")
    check_table(done, CONN)
    check_table(done, END, "left", "right")
    check_table(done, SETUP)
    check_table(done, CA)
