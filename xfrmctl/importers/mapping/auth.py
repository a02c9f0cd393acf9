"""Proofs: pre-shared keys by identity, certificates with the private keys that fit them, CAs, raw keys."""

import base64
from ipaddress import ip_address
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from xfrmctl.config.spelling import identity
from xfrmctl.crypto.certificate import Certificate, CertificateError, read_pem
from xfrmctl.crypto.revocation import Crl
from xfrmctl.importers.mapping.child import Ends
from xfrmctl.importers.mapping.draft import Draft, FileValue
from xfrmctl.importers.mapping.names import file_name
from xfrmctl.importers.neutral import Blob, Connection, Proof, Psk
from xfrmctl.importers.origin import Told
from xfrmctl.importers.report import Fate
from xfrmctl.model.identity import Identity, IdentityPattern

PERFECT, PATTERN, ANYBODY = 20, 5, 1
_SPKI = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def write_auth(draft: Draft, connection: Connection, ends: Ends) -> None:
    """Write identities and ``auth``."""
    local, remote = connection.local, connection.remote
    own = _own_certificate(draft, connection)
    local_id, remote_id = _local_id(draft, local, own), _remote_id(draft, remote)
    for side, proof in (("local", local), ("remote", remote)):
        if proof.method.setting is not None and proof.method.value in ("psk", "pubkey"):
            draft.say(Fate.MAPPED, proof.method.setting, ("auth",), why=f"the {side} end proves itself so")
        elif proof.method.value not in ("psk", "pubkey"):
            why = f"the method {proof.method.value} does not exist here"
            draft.say(Fate.DECIDE, proof.method.setting, ("auth",), why=why, todo="use psk or pubkey at both ends")
    if local.method.value == "pubkey":
        _own_key(draft, connection, own)
        _padding(draft, local.padding)
    if remote.method.value == "pubkey":
        _peer(draft, connection)
    if "psk" in (local.method.value, remote.method.value):
        me = local_id or ends.local or "any"
        _psk(draft, connection, me, remote_id or ends.remote or "any", many=ends.remote is None)
    _superfluous(draft, connection)


def _superfluous(draft: Draft, connection: Connection) -> None:
    """Certificates, keys and CAs of an end that proves itself in another way."""
    told = {line.setting for line in draft.lines}
    for proof in (connection.local, connection.remote):
        for one in (proof.certificates, proof.keys, proof.cas, proof.revocation):
            if one.setting is not None and one.setting not in told:
                draft.say(Fate.DROPPED, one.setting, why="that end proves itself in another way")
    for uri in (*connection.crls, *connection.ocsps):
        if uri.setting is not None and uri.setting not in told:
            draft.say(Fate.DROPPED, uri.setting, why="nobody proves himself by a certificate of that CA")


# ---- identities -------------------------------------------------------------------------------------------------


def _local_id(draft: Draft, proof: Proof, own: Certificate | None) -> str | None:
    """Without one, theirs is the subject of the certificate; ours would be its first subjectAltName."""
    found = proof.id.value
    if found == "any" or found is None:
        if proof.id.setting is not None:
            draft.say(Fate.MAPPED, proof.id.setting, why="none: the default holds")
        if own is not None and proof.method.value == "pubkey":
            found = str(own.identity)
            draft.put(("local", "id"), found, Told(None))
        return found if found != "any" else None
    draft.put(("local", "id"), found, proof.id)
    return found


def _remote_id(draft: Draft, proof: Proof) -> str | None:
    """Without one, theirs is anybody that the proof holds for; ours would be the peer's address."""
    if proof.id.value is not None:
        draft.put(("remote", "id"), proof.id.value, proof.id, keep=True)
    return proof.id.value


# ---- certificates and raw keys ----------------------------------------------------------------------------------


def _own_certificate(draft: Draft, connection: Connection) -> Certificate | None:
    """The first certificate of ours that can be read and says who we are."""
    if connection.local.method.value != "pubkey":
        return None
    named = connection.local.certificates.setting is not None
    wanted = connection.local.id.value
    for blob in connection.local.certificates.value:
        found = _certificates(blob)
        if found and (named or wanted is None or any(str(n) == wanted for n in (*found[0].names, found[0].identity))):
            return found[0]
    return None


def _own_key(draft: Draft, connection: Connection, own: Certificate | None) -> None:
    """Our certificate or raw public key, and the private key that belongs to it."""
    local = connection.local
    if own is None and local.keys.value:
        blob = local.keys.value[0]
        public = _public(blob)
        name = f"keys/{file_name(draft.name)}.pub"
        _keep(draft, name, blob if public is not None else Blob(name=blob.name, content=None))
        draft.put(("auth", "pubkey"), name, local.keys)
        _private(draft, connection, public)
        return
    blobs = [b for b in local.certificates.value if own is not None and own in _certificates(b)]
    blob = blobs[0] if blobs else next(iter(local.certificates.value), Blob(name=draft.name, content=None))
    name = f"certs/{file_name(draft.name)}.pem"
    others = len(local.certificates.value) > 1 and local.certificates.setting is not None
    draft.put(
        ("auth", "certificate"), name, local.certificates, why="one is all there is here" if others else "", keep=True
    )
    _keep(draft, name, blob if own is not None else Blob(name=blob.name, content=None, export=blob.export))
    _private(draft, connection, own.parsed.public_key().public_bytes(*_SPKI) if own is not None else None)


def _private(draft: Draft, connection: Connection, public: bytes | None) -> None:
    name = f"keys/{file_name(draft.name)}.key"
    draft.write(("auth", "key"), name)
    for blob in connection.private_keys() if public is not None else ():
        if blob.content is not None and _public_of_private(blob.content) == public:
            draft.files[name] = blob.content
            return
    export = connection.local.private.replace("{path}", name)
    if export:
        draft.say(Fate.DECIDE, None, ("auth", "key"), name, why="it lies in a database", todo=export)
        return
    why = "no private key that fits was found where they are kept"
    draft.say(
        Fate.DECIDE, None, ("auth", "key"), name, why=why, todo=f"put it there, unencrypted: install -m 0600 KEY {name}"
    )


def _padding(draft: Draft, padding: Told[str]) -> None:
    """``auth`` says it too, so nothing more is told."""
    place = str(padding.setting.place) if padding.setting else ""
    if padding.value == "sha1":
        draft.write(("auth", "sha1"), True, place)
    elif padding.value:
        draft.write(("auth", "rsa"), padding.value, place)


def _peer(draft: Draft, connection: Connection) -> None:
    remote = connection.remote
    if remote.keys.value:
        names = [f"keys/{file_name(draft.name)}-peer{n or ''}.pub" for n in range(len(remote.keys.value))]
        for name, blob in zip(names, remote.keys.value, strict=True):
            _keep(draft, name, blob if _public(blob) is not None else Blob(name=blob.name, content=None))
        draft.put(("auth", "remote_pubkey"), names, remote.keys)
        return
    if remote.certificates.value:
        why, todo = "a certificate of the peer is not pinned here", "name the CA that has signed it: auth.ca"
        draft.say(Fate.DECIDE, remote.certificates.setting, ("auth", "ca"), why=why, todo=todo)
    cas = [blob for blob in remote.cas.value if _certificates(blob) or remote.cas.setting is not None or blob.export]
    names = []
    for blob in cas:
        names.append(f"certs/ca-{file_name(blob.name.rpartition('.')[0] or blob.name)}.pem")
        _keep(draft, names[-1], blob)
    if names:
        draft.put(("auth", "ca"), names, remote.cas, keep=True)
    else:
        draft.write(("auth", "ca"), "certs/ca.pem")
        draft.say(
            Fate.DECIDE, None, ("auth", "ca"), "certs/ca.pem", why="no CA was found", todo="put the peer's CA there"
        )
    _revocation(draft, connection)


def _revocation(draft: Draft, connection: Connection) -> None:
    told = connection.remote.revocation
    why = "here a missing statement is refused, not only where a certificate names where to ask"
    strict = told.value in ("strict", "ifuri")
    draft.put(
        ("auth", "revocation"), "strict" if strict else told.value, told, why=why if told.value == "ifuri" else ""
    )
    for name, tolds in (("crl", connection.crls), ("ocsp", connection.ocsps)):
        values: list[str] = []
        for one in tolds:
            if isinstance(one.value, Blob):
                path = f"certs/{file_name(one.value.name)}"
                values.append(path)
                _keep(draft, path, one.value)
            elif one.value.startswith("http://"):
                values.append(one.value)
                draft.say(Fate.MAPPED, one.setting, ("auth", name), one.value)
            else:
                draft.say(
                    Fate.DROPPED, one.setting, why=f"{one.value}: only http:// is asked", todo=f"write auth.{name}"
                )
        if values:
            draft.write(("auth", name), values)
    if connection.fetches:
        draft.put(("auth", "fetch"), True, Told(None))


def _keep(draft: Draft, name: str, blob: Blob) -> None:
    """Copy a file, or say that it is missing."""
    if blob.content is not None and (_certificates(blob) or _public(blob) is not None or _is_crl(blob.content)):
        draft.files[name] = blob.content
        return
    why = "it lies in a database" if blob.export else f"{blob.name} was not found, or is not what it should be"
    draft.say(Fate.DECIDE, None, ("auth",), why=why, todo=blob.export.replace("{path}", name) or f"put it into {name}")


def _certificates(blob: Blob) -> tuple[Certificate, ...]:
    try:
        return read_pem(blob.content) if blob.content is not None else ()
    except CertificateError:
        return ()


def _is_crl(content: bytes) -> bool:
    try:
        Crl.parse(content)
    except CertificateError:
        return False
    return True


def _public(blob: Blob) -> bytes | None:
    """The SubjectPublicKeyInfo in a file."""
    content = blob.content or b""
    try:
        load: Any = load_pem_public_key if b"-----BEGIN" in content else load_der_public_key
        found: bytes = load(content).public_bytes(*_SPKI)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return found


def _public_of_private(content: bytes) -> bytes | None:
    try:
        load = load_pem_private_key if b"-----BEGIN" in content else load_der_private_key
        return load(content, None).public_key().public_bytes(*_SPKI)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None


# ---- pre-shared keys --------------------------------------------------------------------------------------------


def _psk(draft: Draft, connection: Connection, me: str, peer: str, *, many: bool) -> None:
    """One key for a peer; keys by identity for many."""
    pattern = _parsed(peer)
    if many and not isinstance(pattern, Identity):
        by_name: dict[str, Psk] = {}
        for psk in connection.psks:
            for owner in psk.owners:
                one = _parsed(owner)
                if owner not in (me, "any") and isinstance(one, Identity) and _match(peer, one) > 0:
                    by_name.setdefault(owner, psk)
        if by_name:
            for owner, psk in by_name.items():
                _key_file(draft, ("auth", "psks", owner), psk, f"{file_name(draft.name)}-{file_name(owner)}")
            return
    ranked = [(_rank(psk, peer), _rank(psk, me), -n, psk) for n, psk in enumerate(connection.psks)]
    best = max((r for r in ranked if r[0] or r[1]), default=None, key=lambda r: r[:3])
    if best is not None:
        _key_file(draft, ("auth", "psk"), best[3], file_name(draft.name))
        return
    name = f"secrets/{file_name(draft.name)}.psk"
    draft.write(("auth", "psk"), FileValue(name))
    why = "no pre-shared key was found for these identities"
    draft.say(
        Fate.DECIDE, None, ("auth", "psk"), why=why, todo=f"put it there: install -m 0600 KEY {name}; or use --secrets"
    )


def _key_file(draft: Draft, key: tuple[str, ...], psk: Psk, stem: str) -> None:
    path = f"secrets/{stem}.psk"
    draft.files[path] = encoded(psk.key)
    draft.put(key, FileValue(path), Told(None, psk.setting))


def encoded(key: bytes) -> bytes:
    """A key as our files have it: text where that is unmistakable, else base64."""
    plain = key.isascii() and key.decode("ascii").isprintable() and key[:2].lower() not in (b"0x", b"0s")
    return (key if plain else b"0s" + base64.b64encode(key)) + b"\n"


def _rank(psk: Psk, who: str) -> int:
    """How well a key's owners match one end."""
    if not psk.owners:
        return ANYBODY
    parsed = _parsed(who)
    scores = [0]
    for owner in psk.owners:
        one = _parsed(owner)
        if owner == "any":
            scores.append(ANYBODY)
        elif isinstance(one, IdentityPattern) and isinstance(parsed, Identity):
            scores.append(PATTERN if one.matches(parsed) else 0)
        elif one is not None and one == parsed:
            scores.append(PERFECT)
    return max(scores)


def _match(pattern: str, one: Identity) -> int:
    found = _parsed(pattern)
    if found is None:
        return ANYBODY
    return PATTERN if isinstance(found, IdentityPattern) and found.matches(one) else 0


def _parsed(text: str) -> Identity | IdentityPattern | None:
    """Ours, of any spelling; None for anybody."""
    if text == "any":
        return None
    try:
        return Identity.of_address(ip_address(text))
    except ValueError:
        pass
    try:
        return identity(text)
    except ValueError:
        return None
