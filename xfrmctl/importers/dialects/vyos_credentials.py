"""How VyOS's peers prove themselves: secrets, and certificates and keys of ``pki`` or of files."""

import base64
import binascii
from collections.abc import Sequence

from xfrmctl.importers.dialects import keys
from xfrmctl.importers.dialects.credentials import Folders
from xfrmctl.importers.dialects.options import Options, tell_known
from xfrmctl.importers.dialects.source import Source
from xfrmctl.importers.dialects.tables_vyos import OTHER
from xfrmctl.importers.neutral import Blob, Connection, Proof, Psk
from xfrmctl.importers.origin import Setting, Told
from xfrmctl.importers.report import Fate
from xfrmctl.importers.syntax.vyos_conf import Node, values
from xfrmctl.importers.words import identities

_MODES = {"pre-shared-secret": "psk", "x509": "pubkey", "rsa": "pubkey"}


class Credentials:
    """The secrets of one configuration."""

    def __init__(self, source: Source, root: Node, ipsec: Node) -> None:
        self._report, self._root, self._ipsec = source.report, root, ipsec
        self._folders = Folders(source.files, source.files.base)
        self._privates: list[Blob] = []

    def privates(self) -> Sequence[Blob]:
        """Private keys that have been found so far."""
        return self._privates

    def proofs(self, options: Options, peer: Node, connection: Connection) -> tuple[Proof, Proof]:
        """Those of a peer's two ends."""
        method = options.one_of("authentication mode", "psk", _MODES)
        own = options.told("authentication local-id", None, identities.charon)
        if own.setting is None:
            own = options.told("authentication id", None, identities.charon)
        theirs = options.told("authentication remote-id", None, identities.charon, otherwise=identities.NOBODY)
        if theirs.setting is None and peer.name.startswith("@"):
            theirs = Told(identities.charon(peer.name), Setting(" ".join(peer.path), "", peer.place))
        by_certificate = options.get("authentication use-x509-id")
        if by_certificate is not None:
            self._report.tell(Fate.MAPPED, by_certificate, why="the certificate says who we are")
        name = options.get("authentication rsa-key-name")
        if name is not None:
            why, todo = "keys of vpn rsa-keys are not read", "write auth.pubkey, auth.key and auth.remote_pubkey"
            self._report.tell(Fate.DECIDE, name, why=why, todo=todo, connection=connection.name)
        local = Proof(
            method=method,
            id=own,
            certificates=self._named(options, "x509 certificate", "x509 cert-file", "certificate"),
            keys=self._pair(options, "rsa local-key", "public"),
        )
        cas = self._named(options, "x509 ca-certificate", "x509 ca-cert-file", "ca")
        remote = Proof(
            method=Told(method.value), id=theirs, cas=cas, keys=self._pair(options, "rsa remote-key", "public")
        )
        self._private(options, local)
        crl = options.get("authentication x509 crl-file")
        if crl is not None:
            connection.crls = [Told(self._folders.named([crl.value], "auth", ".")[0], crl)]
            self._report.tell(Fate.MAPPED, crl, to="auth.crl", connection=connection.name)
        return local, remote

    def _named(self, options: Options, newer: str, older: str, kind: str) -> Told[tuple[Blob, ...]]:
        """Certificates by their names in ``pki``, or as files (1.3)."""
        name, file = options.get(f"authentication {newer}"), options.get(f"authentication {older}")
        if name is not None:
            return Told((self._pki(kind, name.value, "certificate"),), name)
        return Told(self._folders.named([file.value], "auth", "."), file) if file is not None else Told(())

    def _pair(self, options: Options, option: str, part: str) -> Told[tuple[Blob, ...]]:
        name = options.get(f"authentication {option}")
        return Told((self._pki("key-pair", name.value, part),), name) if name is not None else Told(())

    def _private(self, options: Options, local: Proof) -> None:
        """Private keys of ours, wherever they stand."""
        file = options.get("authentication x509 key file")
        if file is not None:
            self._privates += self._folders.named([file.value], "auth", ".")
            self._report.tell(Fate.MAPPED, file, why="taken where it fits the certificate")
        for told, kind in ((local.certificates, "certificate"), (local.keys, "key-pair")):
            if told.setting is not None:
                self._privates.append(self._pki(kind, told.setting.value, "private"))

    def _pki(self, kind: str, name: str, part: str) -> Blob:
        """``pki certificate NAME certificate BASE64``, ``… private key BASE64``."""
        path = (part,) if part == "certificate" else (part, "key")
        found = values(self._root.get("pki", kind, name, *path))
        for setting in found:
            self._report.tell(Fate.MAPPED, setting, to="auth", why="written to a file")
        try:
            content = base64.b64decode(found[0].value, validate=True) if found else None
        except binascii.Error:
            content = None
        return Blob(name=name, content=content)

    def psks(self) -> list[Psk]:
        """``authentication psk NAME`` of 1.4."""
        found: list[Psk] = []
        node = self._ipsec.get("authentication", "psk")
        for inner in node.inner.values() if node else ():
            owners: list[str] = []
            for setting in values(inner.get("id")):
                try:
                    owners.append(identities.charon(setting.value))
                    self._report.tell(Fate.MAPPED, setting, to="auth", why="says whose secret it is")
                except ValueError as error:
                    self._report.tell(Fate.DECIDE, setting, why=str(error), todo="see whose secret it is")
            for secret in values(inner.get("secret")):
                found += self._psk(secret, tuple(owners))
            for setting in values(inner.get("dhcp-interface")):
                tell_known(self._report, setting, OTHER["authentication psk dhcp-interface"], "")
        return found

    def own_psk(self, options: Options) -> list[Psk]:
        """``pre-shared-secret`` of 1.3, at the peer itself: it has no owners, so it fits."""
        setting = options.get("authentication pre-shared-secret")
        return self._psk(setting, ()) if setting is not None else []

    def _psk(self, setting: Setting, owners: tuple[str, ...]) -> list[Psk]:
        try:
            return [Psk(owners=owners, key=keys.charon(setting.value), setting=setting)]
        except ValueError as error:
            self._report.tell(Fate.DECIDE, setting, why=f"the secret {error}", todo="write it again")
            return []
