"""xfrmctl against strongSwan's charon by certificate: every kind of key, each end as initiator and as responder."""

import datetime
import functools
import itertools
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.ocsp import OCSPCertStatus, load_der_ocsp_request

from tests.lab.interop import Bench, Initiator, Tunnel, eventually
from tests.pki import DAY, Issued, crl, issue, key, ocsp_response

pytestmark = [pytest.mark.lab, pytest.mark.interop]

both_roles = pytest.mark.parametrize("initiator", ["ours", "charon"])
START = datetime.datetime.now(datetime.UTC) - DAY
_numbers = itertools.count(1)
MOON, SUN = "moon.example.org", "sun.example.org"


@dataclass(frozen=True)
class Party:
    """The two ends' certificates under one CA, and where they lie."""

    name: str
    ca: Issued
    ours: Issued
    theirs: Issued

    def install(self, bench: Bench, *, our_chain: str = "") -> None:
        """Put the files where each end finds them."""
        place = bench.ours.directory
        for suffix, content in {
            "ca.pem": self.ca.pem,
            "moon.pem": self.ours.pem + our_chain,
            "moon.key": self.ours.key_pem,
        }.items():
            path = place / f"{self.name}-{suffix}"
            path.touch(mode=0o600)
            path.write_text(content)
        charon = bench.charon
        charon.credential("x509ca", f"{self.name}-ca.pem", self.ca.pem.encode())
        charon.credential("x509", f"{self.name}-sun.pem", self.theirs.pem.encode())
        charon.credential("private", f"{self.name}-sun.key", self.theirs.key_pem.encode())

    def tunnel(
        self, *, rsa: str = "auto", local: str = "pubkey", remote: str = "pubkey", our_id: str = MOON, **more: object
    ) -> Tunnel:
        """A tunnel with these certificates; ``local`` and ``remote`` are charon's ``auth``."""
        return Tunnel(
            our_id=our_id,
            our_auth={
                "certificate": f"{self.name}-moon.pem",
                "key": f"{self.name}-moon.key",
                "ca": f"{self.name}-ca.pem",
                "rsa": rsa,
            }
            | more.pop("auth", {}),  # type: ignore[operator]
            charon_local_auth=(f"auth = {local}", f"certs = {self.name}-sun.pem"),
            charon_remote_auth=(f"auth = {remote}", f"cacerts = {self.name}-ca.pem"),
            **more,  # type: ignore[arg-type]
        )


@functools.cache
def party(name: str, kind: str) -> Party:
    """A CA of its own and two certificates, all with new keys: charon finds certificates by their keys."""
    ca = issue(f"CA {name}", kind=kind, number=next(_numbers), ca=True, start=START)
    ours, theirs = (
        issue(who, ca, kind=kind, number=next(_numbers), names=[fqdn], start=START)
        for who, fqdn in (("moon", MOON), ("sun", SUN))
    )
    return Party(name, ca, ours, theirs)


# kind of key, how we are told to sign, charon's `auth` for itself and for us, charon's name for our signature
SIGNATURES = [
    ("rsa2048", "pss", "pubkey", "pubkey", "RSA_EMSA_PSS_SHA2_256"),
    ("rsa2048", "pss", "rsa/pss-sha512", "ike:rsa/pss-sha256", "RSA_EMSA_PSS_SHA2_256"),
    ("rsa2048", "pkcs1", "pubkey-sha384", "pubkey", "RSA_EMSA_PKCS1_SHA2_256"),
    ("rsa3072", "auto", "pubkey", "pubkey", "RSA_EMSA_"),
    ("p256", "auto", "pubkey", "pubkey", "ECDSA_WITH_SHA256_DER"),
    ("p384", "auto", "pubkey", "pubkey", "ECDSA_WITH_SHA384_DER"),
    ("p521", "auto", "pubkey", "pubkey", "ECDSA_WITH_SHA512_DER"),
    ("ed25519", "auto", "pubkey", "pubkey", "ED25519"),
    ("ed448", "auto", "pubkey", "pubkey", "ED448"),
]


@pytest.mark.rfc("7427", "3")
@pytest.mark.rfc("8420", "2")
@both_roles
@pytest.mark.parametrize(("kind", "rsa", "local", "remote", "seen"), SIGNATURES)
def test_signatures(
    bench: Bench, kind: str, rsa: str, local: str, remote: str, seen: str, initiator: Initiator
) -> None:
    both = party(kind, kind)
    both.install(bench)
    bench.arrange(both.tunnel(rsa=rsa, local=local, remote=remote))
    with bench.only_esp(udp=False):
        bench.bring_up(initiator)
        bench.check_traffic()
    assert re.search(rf"authentication of '{MOON}' with {seen}\S* successful", bench.charon_log())


@both_roles
@pytest.mark.parametrize(("kind", "ours"), [("p256", "ECDSA-256 signature"), ("rsa2048", "RSA signature")])
def test_old_methods(bench: Bench, kind: str, ours: str, initiator: Initiator) -> None:
    """charon without RFC 7427 signs by methods 9 (ECDSA) and 1 (RSA with SHA-1)."""
    both = party(f"old-{kind}", kind)
    both.install(bench)
    settings = bench.charon.directory / "strongswan.conf"
    before = settings.read_text()
    settings.write_text(before.replace("  filelog {", "  signature_authentication = no\n  filelog {"))
    bench.charon.swanctl("--reload-settings")
    try:
        bench.arrange(both.tunnel(auth={"sha1": kind == "rsa2048"}))
        bench.bring_up(initiator)
        assert f"authentication of '{MOON}' with {ours} successful" in bench.charon_log()
    finally:
        settings.write_text(before)
        bench.charon.swanctl("--reload-settings")


@both_roles
def test_subjects_as_identities_and_a_pattern(bench: Bench, initiator: Initiator) -> None:
    both = party("names", "p256")
    both.install(bench)
    bench.arrange(
        both.tunnel(
            our_id="dn:CN=moon,O=Lab,C=XX",
            charon_id='"C=XX, O=Lab, CN=sun"',
            we_expect="dn:CN=*,O=Lab,C=XX",
            charon_expects='"C=XX, O=Lab, CN=moon"',
        )
    )
    bench.bring_up(initiator)
    (sa,) = bench.connection().ike_sas
    assert sa.remote_id == "dn:CN=sun,O=Lab,C=XX"


@both_roles
def test_intermediate_certificates_both_ways(bench: Bench, initiator: Initiator) -> None:
    root = issue("Root", kind="p256", number=next(_numbers), ca=True, start=START)
    above = issue("Intermediate", root, kind="p256", number=next(_numbers), ca=True, start=START)
    ours = issue("moon", above, number=next(_numbers), names=[MOON], start=START)
    theirs = issue("sun", above, number=next(_numbers), names=[SUN], start=START)
    both = Party("chain", root, ours, theirs)
    both.install(bench, our_chain=above.pem)
    bench.charon.credential("x509ca", "chain-above.pem", above.pem.encode())
    bench.arrange(both.tunnel())
    bench.bring_up(initiator)


@both_roles
def test_one_side_by_key_the_other_by_certificate(bench: Bench, initiator: Initiator) -> None:
    both = party("mixed", "p256")
    both.install(bench)
    tunnel = both.tunnel()
    assert tunnel.our_auth
    mine = {"certificate": tunnel.our_auth["certificate"], "key": tunnel.our_auth["key"], "psk": tunnel.psk}
    bench.arrange(both.tunnel().__class__(our_auth=mine, charon_remote_auth=tunnel.charon_remote_auth))
    bench.bring_up(initiator)
    bench.no_alarm()


@both_roles
def test_an_initiator_from_anywhere(bench: Bench, initiator: Initiator) -> None:
    """One entry for everybody of the CA, whatever the address."""
    if initiator == "ours":
        pytest.skip("an entry without an address only answers")
    both = party("any", "p256")
    both.install(bench)
    bench.arrange(both.tunnel(any_peer=True, we_expect="fqdn:*.example.org"))
    bench.bring_up(initiator)
    (sa,) = bench.connection().ike_sas
    assert sa.remote_id == f"fqdn:{SUN}"


# -- failures


@both_roles
def test_charon_s_certificate_is_revoked(bench: Bench, initiator: Initiator) -> None:
    both = party("revoked", "p256")
    both.install(bench)
    listed = crl(both.ca, both.theirs, start=START).public_bytes(Encoding.PEM)
    (bench.ours.directory / "revoked.crl").write_bytes(listed)
    bench.arrange(both.tunnel(auth={"crl": "revoked.crl"}))
    bench.fail(initiator)
    eventually(lambda: "certificate_revoked" in str(bench.shown()), "named")


@both_roles
def test_charon_s_certificate_has_expired(bench: Bench, initiator: Initiator) -> None:
    both = party("expired", "p256")
    theirs = issue("sun", both.ca, number=next(_numbers), names=[SUN], start=START - 30 * DAY, days=20)
    both = replace(both, theirs=theirs)
    both.install(bench)
    bench.arrange(both.tunnel())
    bench.fail(initiator)
    text = str(bench.shown()) + bench.our_log()
    if initiator == "charon" or "certificate_expired" in text:
        eventually(lambda: "certificate_expired" in str(bench.shown()), "named")


@both_roles
def test_charon_does_not_know_our_ca(bench: Bench, initiator: Initiator) -> None:
    both, stranger = party("known", "p256"), party("stranger", "p384")
    both = replace(both, ours=stranger.ours)
    both.install(bench)
    bench.arrange(both.tunnel())
    bench.fail(initiator)
    if initiator == "ours":
        eventually(lambda: "does not accept our certificate" in str(bench.shown()), "named")


# -- OCSP


@contextmanager
def responder(bench: Bench, answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """An OCSP responder on the loopback of our gateway; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with bench.ours.namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = HTTPServer(listener.getsockname(), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.rfc("6960", "3.2")
@both_roles
@pytest.mark.parametrize("revoked", [False, True])
def test_an_ocsp_responder_decides(bench: Bench, initiator: Initiator, *, revoked: bool) -> None:
    """Strict, and the only source is a responder that is asked over HTTP while charon waits for our answer."""
    both = party(f"ocsp-{initiator}-{revoked}", "p256")
    both.install(bench)
    status = OCSPCertStatus.REVOKED if revoked else OCSPCertStatus.GOOD
    asked: list[int] = []

    def answer(body: bytes) -> bytes:
        asked.append(load_der_ocsp_request(body).serial_number)
        return ocsp_response(both.theirs, both.ca, status, start=START)

    with responder(bench, answer) as url:
        bench.arrange(both.tunnel(auth={"ocsp": url, "revocation": "strict"}))
        if revoked:
            bench.fail(initiator)
            eventually(lambda: "certificate_revoked" in str(bench.shown()), "named")
        else:
            bench.bring_up(initiator)
    assert asked == [both.theirs.parsed.serial_number]


# -- raw public keys


@pytest.mark.rfc("7670", "3")
@both_roles
@pytest.mark.parametrize("kind", ["rsa2048", "p256", "ed25519"])
def test_raw_public_keys(bench: Bench, kind: str, initiator: Initiator) -> None:
    """charon has our public key from its configuration, as we have its; no certificate anywhere."""
    ours, theirs = (next(_numbers), next(_numbers))
    name = f"raw-{kind}-{initiator}"
    for file, content in {
        f"{name}-moon.pub": _public(kind, ours),
        f"{name}-sun.pub": _public(kind, theirs),
        f"{name}-moon.key": issue("moon", kind=kind, number=ours).key_pem.encode(),
    }.items():
        path = bench.ours.directory / file
        path.touch(mode=0o600)
        path.write_bytes(content)
    private = issue("sun", kind=kind, number=theirs).key_pem.encode()
    for folder, file, content in (
        ("pubkey", f"{name}-moon.pub", _public(kind, ours)),
        ("pubkey", f"{name}-sun.pub", _public(kind, theirs)),
        ("private", f"{name}-sun.key", private),
    ):
        bench.charon.credential(folder, file, content)
    bench.arrange(
        Tunnel(
            our_auth={
                "pubkey": f"{name}-moon.pub",
                "key": f"{name}-moon.key",
                "remote_pubkey": f"{name}-sun.pub",
            },
            charon_local_auth=("auth = pubkey", f"pubkeys = {name}-sun.pub"),
            charon_remote_auth=("auth = pubkey", f"pubkeys = {name}-moon.pub"),
        )
    )
    with bench.only_esp():
        bench.bring_up(initiator)
        bench.check_traffic((4,))
    assert re.search(f"authentication of '{MOON}' with .* successful", bench.charon_log())


def _public(kind: str, number: int) -> bytes:
    return key(kind, number).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
