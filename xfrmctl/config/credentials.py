"""How the ends of a connection prove who they are: ``auth:`` -> keys, certificates and CAs in memory.

    auth: {psk: !file secrets/branch-7.psk}                               both by a shared key
    auth: {psks: {fqdn:a.example.org: !file secrets/a.psk, …}}            each of many peers by a key of its own
    auth: {certificate: certs/moon.pem, key: certs/moon.key, ca: certs/ca.pem}    both by certificate
    auth: {certificate: …, key: …, psk: …}                                we by certificate, the peer by the shared key
    auth: {psk: …, ca: …}                                                 the other way round
    auth: {pubkey: moon.pub, key: moon.key, remote_pubkey: sun.pub}       both by raw public keys (RFC 7670)

    auth: {…, ca: …, crl: [ca.crl, "http://…"], ocsp: …, fetch: true, revocation: strict}    what is revoked

Paths start at the configuration file. A certificate file may hold intermediate certificates too, in any order; they are
sent along. Files that several connections name are read once in a load. Private keys are for their owner's eyes only
and are not encrypted: a daemon that starts by itself has nobody to ask for a passphrase.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

from xfrmctl.config import schema, secrets
from xfrmctl.config.document import Key
from xfrmctl.config.problem import Wrong
from xfrmctl.config.spelling import identity
from xfrmctl.crypto import ocsp
from xfrmctl.crypto.certificate import Certificate, CertificateError, read_pem, spki_digest
from xfrmctl.crypto.credential import Credential
from xfrmctl.crypto.rawkey import RawKey
from xfrmctl.crypto.revocation import Crl, Revocation, StatusCheck, is_usable
from xfrmctl.crypto.signature import PrivateKey, RsaPadding, describe, unfit
from xfrmctl.crypto.trust import TrustStore
from xfrmctl.model.identity import Identity

MAX_BYTES = 16 * 2**20
MAX_CHAIN = 10
"""Peers of our own kind look at no more (``wire.payloads.cert``)."""

MAX_KEYS = 10
"""Raw public keys of one peer: the one in use and those before and after it."""

T = TypeVar("T")
Report = Callable[[Key, str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proofs:
    """What ``auth:`` has become."""

    psk: bytes = b""
    psks: Mapping[Identity, bytes] = field(default_factory=dict, repr=False)
    credential: Credential | None = None
    trust: TrustStore | None = None
    remote_keys: tuple[RawKey, ...] = ()


class Credentials:
    """Reads what the connections of one configuration name; each file and each set of CAs once."""

    def __init__(self, config_file: Path, report: Report) -> None:
        self._file = config_file
        self._report = report
        self._read: dict[tuple[str, Path], object] = {}
        self._trusts: dict[tuple[object, ...], TrustStore] = {}

    def of(self, auth: schema.Auth, key: Key) -> Proofs:
        """The proofs of one connection; what is wrong is reported at ``key`` and left out."""
        if not self._complete(auth, key):
            return Proofs()
        psk, credential, trust = b"", None, None
        remote_keys: tuple[RawKey, ...] = ()
        if auth.psk is not None:
            psk = self._try((*key, "psk"), lambda: secrets.fetch(auth.psk or "", self._file)) or b""
        psks = self._psks(auth, (*key, "psks"))
        if auth.certificate is not None and auth.key is not None:
            credential = self._credential(auth, key, auth.certificate, auth.key)
        if auth.pubkey is not None and auth.key is not None:
            credential = self._raw_credential(auth, key, auth.pubkey, auth.key)
        if auth.ca:
            trust = self._trust(auth, key)
        if auth.remote_pubkey:
            remote_keys = self._remote_keys(auth, key)
        return Proofs(psk=psk, psks=psks, credential=credential, trust=trust, remote_keys=remote_keys)

    def _psks(self, auth: schema.Auth, key: Key) -> dict[Identity, bytes]:
        """The keys of many peers by identity; each is another's secret, so no two names may mean the same."""
        found: dict[Identity, bytes] = {}
        for name, secret in auth.psks.items():
            place = (*key, name)
            who = self._try(place, partial(identity, name))
            value = self._try(place, partial(secrets.fetch, secret, self._file))
            if not isinstance(who, Identity):
                if who is not None or name == "any":
                    self._report(place, f"{name} is more than one identity", "write one for each key; for any: psk")
            elif who in found:
                self._report(place, f"a second key for {who}", "keep one of the two")
            elif value:
                found[who] = value
        return found

    def _complete(self, auth: schema.Auth, key: Key) -> bool:
        """Whether both ends have something to prove themselves with, and nothing is superfluous."""
        private, psk = auth.key, auth.psk or auth.psks or None
        own = "certificate" if auth.certificate is not None else "pubkey" if auth.pubkey is not None else ""
        theirs = "ca" if auth.ca else "remote_pubkey" if auth.remote_pubkey else ""
        wrong: list[tuple[str, str, str]] = []
        if not own and private is None and not theirs and psk is None:
            wrong.append(("", "nothing to prove an identity with", "add psk: !file secrets/NAME.psk, or certificate:"))
        elif auth.certificate is not None and auth.pubkey is not None:
            wrong.append(("pubkey", "we prove ourselves in one way only", "leave certificate out, or pubkey"))
        elif auth.ca and auth.remote_pubkey:
            wrong.append(("remote_pubkey", "the peer proves itself in one way only", "leave ca out, or remote_pubkey"))
        elif private is None and own:
            wrong.append((own, f"{own} without key", "add key: PATH"))
        elif private is not None and not own:
            wrong.append(("key", "key without certificate", "add certificate: PATH, or pubkey: PATH"))
        elif own and theirs and psk is not None:
            wrong.append(("psk", "nobody would use it: both ends sign", f"leave psk out, or {theirs}"))
        elif own and not theirs and psk is None:
            cure = "add ca: PATH, remote_pubkey: PATH, or psk"
            wrong.append((own, "the peer has nothing to prove itself with", cure))
        elif theirs and not own and psk is None:
            cure = "add certificate: and key:, pubkey: and key:, or psk"
            wrong.append((theirs, "we have nothing to prove ourselves with", cure))
        sources = [name for name in ("crl", "ocsp", "fetch") if getattr(auth, name)]
        for name in sources if not auth.ca else ():
            wrong.append((name, f"{name} without a ca", f"add ca: PATH, or leave {name} out"))
        for name in sources if auth.revocation == "off" else ():
            wrong.append((name, "nobody would look at it: revocation is off", f"leave {name} out, or write relaxed"))
        if auth.revocation == "strict" and auth.ca and not sources:
            cure = "add crl: PATH, ocsp: PATH or fetch: true, or write relaxed"
            wrong.append(("revocation", "strict without a CRL or OCSP accepts nobody", cure))
        for where, cause, cure in wrong:
            self._report((*key, where) if where else key, cause, cure)
        return not wrong

    def _try(self, key: Key, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except Wrong as wrong:
            self._report(key, wrong.cause, wrong.cure)
            return None

    def _once(self, kind: str, path: str, read: Callable[[Path], T]) -> T:
        """The content of a file, read by the first that asks."""
        full = self._file.parent / Path(path).expanduser()
        known = self._read.get((kind, full))
        if known is None:
            known = self._read[kind, full] = read(full)
        return known  # type: ignore[return-value]  # what `read` of this kind has made

    # -- ours

    def _credential(self, auth: schema.Auth, key: Key, certificate: str, private: str) -> Credential | None:
        chain = self._try((*key, "certificate"), lambda: _ordered(self._once("cert", certificate, _certificates)))
        own_key = self._try((*key, "key"), lambda: self._once("key", private, _private_key))
        if chain is None or own_key is None:
            return None
        if spki_digest(own_key.public_key()) != chain[0].authority:
            cause = f"it is not the key of {chain[0].subject_text} ({describe(chain[0].key)}) but another "
            self._report((*key, "key"), cause + describe(own_key.public_key()), "name the key of that certificate")
            return None
        return Credential(chain, own_key, RsaPadding(auth.rsa))

    def _raw_credential(self, auth: schema.Auth, key: Key, public: str, private: str) -> Credential | None:
        raw = self._try((*key, "pubkey"), lambda: self._once("pubkey", public, _public_key))
        own_key = self._try((*key, "key"), lambda: self._once("key", private, _private_key))
        if raw is None or own_key is None:
            return None
        if RawKey.of(own_key.public_key()) != raw:
            cause = f"it is not the private half of auth.pubkey ({raw})"
            cure = f"make the public half from it: openssl pkey -in {private} -pubout -out {public}"
            self._report((*key, "key"), cause, cure)
            return None
        return Credential((), own_key, RsaPadding(auth.rsa), raw)

    # -- the peer's

    def _remote_keys(self, auth: schema.Auth, key: Key) -> tuple[RawKey, ...]:
        found: list[RawKey] = []
        for number, path in enumerate(auth.remote_pubkey):
            place = (*key, "remote_pubkey", number)
            raw = self._try(place, lambda path=path: self._once("pubkey", path, _public_key))  # type: ignore[misc]
            found += [raw] if raw is not None else []
        if len(found) > MAX_KEYS:
            cause = f"{len(found)} keys for one peer: each of them has to be tried against a wrong signature"
            self._report((*key, "remote_pubkey"), cause, f"name at most {MAX_KEYS}, and one connection for each peer")
        return tuple(found)

    def _trust(self, auth: schema.Auth, key: Key) -> TrustStore | None:
        anchors: list[Certificate] = []
        for number, path in enumerate(auth.ca):
            place = (*key, "ca", number)
            found = self._try(place, lambda path=path: self._once("cert", path, _certificates))  # type: ignore[misc]
            anchors += found or ()
        crls, crl_urls = self._statements(auth.crl, "crl", key, _crl)
        responses, ocsp_urls = self._statements(auth.ocsp, "ocsp", key, _ocsp)
        if not anchors:
            return None
        mode = Revocation(auth.revocation)
        check = StatusCheck(mode, tuple(crls), tuple(responses), crl_urls, ocsp_urls, auth.fetch)
        wanted = (tuple(c.der for c in anchors), check.digest)
        if wanted not in self._trusts:
            self._trusts[wanted] = TrustStore(anchors, check)
        return self._trusts[wanted]

    def _statements(
        self, written: Sequence[str], name: str, key: Key, read: Callable[[Path], T]
    ) -> tuple[list[T], tuple[str, ...]]:
        """Contents of files, and URLs."""
        found: list[T] = []
        urls: list[str] = []
        for number, path in enumerate(written):
            place = (*key, name, number)
            if "://" not in path:
                one = self._try(place, lambda path=path: self._once(name, path, read))  # type: ignore[misc]
                found += [one] if one is not None else []
            elif is_usable(path):
                urls.append(path)
            else:
                cause = f"{path[:100]} cannot be fetched: only plain HTTP is, for what comes back is signed"
                self._report(place, cause, "write http://HOST/PATH, or the path of a file")
        return found, tuple(urls)


# -- files


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise Wrong(f"cannot read {path}: {error.strerror}", "name a readable PEM or DER file") from None
    if len(content) > MAX_BYTES:
        raise Wrong(f"{path} is larger than 16 MiB", "is it the right file?")
    return content


def _certificates(path: Path) -> tuple[Certificate, ...]:
    content = _content(path)
    if b"PRIVATE KEY-----" in content:
        raise Wrong(f"{path} holds a private key", "put it into a file of its own with mode 0600, and name it as key:")
    try:
        return read_pem(content)
    except CertificateError as error:
        cure = "name a file with certificates in PEM (-----BEGIN CERTIFICATE-----) or one in DER"
        raise Wrong(f"{path} has no certificate that can be used: {error}", cure) from None


def _public_key(path: Path) -> RawKey:
    content = _content(path)
    if b"PRIVATE KEY-----" in content:
        raise Wrong(f"{path} holds a private key", f"name its public half: openssl pkey -in {path} -pubout")
    if b"-----BEGIN CERTIFICATE" in content:
        raise Wrong(f"{path} holds a certificate", f"take the key out of it: openssl x509 -in {path} -noout -pubkey")
    try:
        return RawKey.parse(content)
    except CertificateError as error:
        cure = "name a file with one public key in PEM (-----BEGIN PUBLIC KEY-----) or DER"
        raise Wrong(f"{path} has no public key that can be used: {error}", cure) from None


def _ocsp(path: Path) -> ocsp.Response:
    try:
        return ocsp.Response.parse(_content(path))
    except CertificateError as error:
        cure = "name a response in DER, as openssl ocsp -respout writes it"
        raise Wrong(f"{path} is no OCSP response that can be used: {error}", cure) from None


def _crl(path: Path) -> Crl:
    try:
        return Crl.parse(_content(path))
    except CertificateError as error:
        raise Wrong(f"{path} is no CRL that can be used: {error}", "name a complete CRL in PEM or DER") from None


def _private_key(path: Path) -> PrivateKey:
    content = secrets.read_private(path, f"put the key of the certificate there: install -m 0600 KEY {path}")
    try:
        load = load_pem_private_key if b"-----BEGIN" in content else load_der_private_key
        key = load(content, None)
    except TypeError:
        cause = f"the key in {path} is encrypted, and at start there is nobody to ask for the passphrase"
        raise Wrong(cause, f"decrypt it: openssl pkey -in {path} -out NEW; chmod 0600 NEW; name NEW here") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        words = str(error).splitlines()[0] if str(error) else "not understood"
        raise Wrong(f"{path} holds no private key: {words[:120]}", "name a key in PEM (PKCS#8, SEC1, PKCS#1)") from None
    if reason := unfit(key.public_key()):
        raise Wrong(f"{path} holds {reason}", "use RSA with 2048 to 8192 bits, ECDSA P-256/384/521 or Ed25519/Ed448")
    return key  # type: ignore[return-value]  # unfit() has looked


def _ordered(found: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """The first certificate and what leads from it towards a root; roots are not sent. Raises Wrong for strangers."""
    chain, left = [found[0]], [c for c in found[1:] if not c.is_self_issued]
    while True:
        above = next((c for c in left if c.parsed.subject == chain[-1].parsed.issuer), None)
        if above is None:
            break
        left.remove(above)
        chain.append(above)
    if left:
        cause = f"{left[0].subject_text} does not lead from {found[0].subject_text} to its CA"
        raise Wrong(cause, "put our own certificate first, then the intermediate ones, and nothing else")
    if len(chain) > MAX_CHAIN:
        raise Wrong(f"{len(chain)} certificates are more than a peer looks at", f"send at most {MAX_CHAIN}")
    return tuple(chain)
