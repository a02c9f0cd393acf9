"""swanctl.conf -> neutral: connections, authorities and secrets of strongSwan, with its defaults."""

from dataclasses import replace
from functools import partial

from xfrmctl.importers.dialects import keys
from xfrmctl.importers.dialects.charon import BOTH, CHILDLESS, action, charon_child_lifetime, lifetime, mark, selectors
from xfrmctl.importers.dialects.credentials import Folders, words
from xfrmctl.importers.dialects.options import Options, tell_known
from xfrmctl.importers.dialects.source import Source
from xfrmctl.importers.dialects.tables_swanctl import AUTHORITY, CHILD, CONNECTION, PROOF, SECRET
from xfrmctl.importers.files import Files
from xfrmctl.importers.neutral import Blob, Child, Connection, Lifetime, Plan, Proof, Psk
from xfrmctl.importers.origin import Setting, Told
from xfrmctl.importers.report import Fate, Report
from xfrmctl.importers.syntax.sections import Section, Tree, inherited, parse
from xfrmctl.importers.words import algorithms, identities, times

_DSCP = {
    "out": ("copy", "keep"),
    "in": ("none", "copy"),
    "yes": ("copy", "copy"),
    "no": ("none", "keep"),
}
_YES_NO = {"yes": "yes", "no": "no", "true": "yes", "false": "no", "1": "yes", "0": "no"}


def read(source: Source) -> Plan:
    """Read the main file and what it includes. Raises ImportFault."""
    tree = parse(source.text, source.name, source.include)
    for former, later in tree.overridden:
        source.report.tell(Fate.DROPPED, former, why=f"{later.place} says it again, and the later one holds")
    return _Reader(tree, source.files, source.report).plan()


class _Reader:
    """One configuration."""

    def __init__(self, tree: Tree, files: Files, report: Report) -> None:
        base = files.base.parent if files.base.name == "conf.d" else files.base
        self._tree, self._files, self._report = tree, files, report
        self._folders = Folders(files, base)

    def plan(self) -> Plan:
        """All of it."""
        root = inherited(self._tree, self._tree.root)
        psks = self._secrets(root.sections.get("secrets"))
        connections = root.sections.get("connections")
        found = [self._connection(s) for s in (connections.sections.values() if connections else ())]
        for connection in found:
            connection.psks = psks
            self._authorities(connection, root.sections.get("authorities"))
        pools = root.sections.get("pools")
        for section in pools.walk() if pools else ():
            for setting in section.settings.values():
                why = "addresses are not handed out here"
                self._report.tell(Fate.DROPPED, setting, why=why, todo="give the peers fixed addresses")
        return Plan("strongSwan", found, self._tree.settings)

    # ---- connections ------------------------------------------------------------------------------------------

    def _connection(self, section: Section) -> Connection:
        name = section.path.rpartition(".")[2]
        options = Options(section.settings, CONNECTION, self._report, name)
        own, theirs = (self._rounds(section, side) for side in ("local", "remote"))
        rekey = options.told("rekey_time", 4 * 3600, times.seconds)
        reauth = options.told("reauth_time", 0, times.seconds)
        if reauth.value and rekey.setting is None:
            rekey = Told(0, reauth.setting)
        connection = Connection(
            name=name,
            place=section.place,
            settings=[s for part in section.walk() for s in part.settings.values()],
            local_addresses=options.told("local_addrs", ("any",), _addresses),
            remote_addresses=options.told("remote_addrs", ("any",), _addresses),
            ike=options.told(
                "proposals",
                algorithms.charon_default(algorithms.IKE),
                partial(algorithms.charon, protocol=algorithms.IKE),
            ),
            time=lifetime(rekey, options.told("rand_time", -1, times.seconds), rekey.value // 10),
            reauth=reauth,
            dpd_s=options.told("dpd_delay", 0, times.seconds),
            encap=options.one_of(
                "encap", "auto", {word: ("always" if y == "yes" else "auto") for word, y in _YES_NO.items()}
            ),
            mobike=options.told("mobike", True, times.yes),
            fragmentation=options.one_of(
                "fragmentation", "auto", {"yes": "auto", "force": "auto", "accept": "accept", "no": "off"}
            ),
            childless=options.one_of("childless", "allow", CHILDLESS),
            unique=options.one_of("unique", "no", {"no": "no", "never": "no", "keep": "keep", "replace": "replace"}),
            tries=options.told("keyingtries", 1, times.number),
            fetches=True,
        )
        connection.hurdle = self._hurdle(options, section, own, theirs)
        connection.local, connection.remote = self._proof(own, name, ours=True), self._proof(theirs, name, ours=False)
        if_ids = {side: options.get(f"if_id_{side}") for side in ("in", "out")}
        options.rest()
        children = section.sections.get("children")
        for child in children.sections.values() if children else ():
            connection.children.append(self._child(child, name, if_ids))
        numbered = [c.if_id.setting for c in connection.children if c.if_id is not None]
        for setting in filter(None, if_ids.values()):
            if setting not in numbered and not self._report.has(setting):
                self._report.tell(Fate.MAPPED, setting, why="the children say their own", connection=name)
        self._strangers(section, ("local", "remote", "children"), name)
        return connection

    def _hurdle(
        self, options: Options, section: Section, own: list[Section], theirs: list[Section]
    ) -> tuple[Setting | None, str, str] | None:
        """Why a connection cannot be taken over. Every option of the kind is asked for, so that each is told."""
        version, ppk = options.get("version"), options.get("ppk_required")
        road = [options.get(name) for name in ("vips", "pools")]
        mediated = [options.get(name) for name in ("mediation", "mediated_by")]
        if version is not None and version.value.strip() == "1":
            return version, "IKEv1 does not exist here", "have the peer speak IKEv2, and import again"
        if version is not None:
            both = version.value.strip() != "2"
            why = "IKEv2 only: IKEv1 does not exist here" if both else ""
            self._tell(Fate.CHANGED if both else Fate.MAPPED, version, why, section)
        else:
            name = section.path.rpartition(".")[2]
            self._report.tell(Fate.CHANGED, None, option="version", why=BOTH, connection=name)
        for setting in filter(None, road):
            return setting, "virtual addresses are not handed out here, nor asked for", "give both ends fixed networks"
        for setting in filter(None, (*mediated, ppk)):
            if setting.value.strip().lower() not in ("no", "false", "0"):
                return setting, f"{setting.name.rpartition('.')[2]} does not exist here", "do without it at both ends"
            self._tell(Fate.MAPPED, setting, "as it is here", section)
        for rounds in (own, theirs):
            if len(rounds) > 1:
                return None, "several rounds of proofs (RFC 4739) do not exist here", "keep one at both ends"
            method = rounds[0].settings.get("auth") if rounds else None
            if method is not None and method.value.strip().lower().startswith(("eap", "xauth")):
                return method, "EAP and XAuth do not exist here", "use pubkey or psk at both ends"
        return None

    def _tell(self, fate: Fate, setting: Setting, why: str, section: Section) -> None:
        self._report.tell(fate, setting, why=why, connection=section.path.rpartition(".")[2])

    def _strangers(self, section: Section, known: tuple[str, ...], name: str) -> None:
        """Sections within that nobody reads."""
        for inner in section.sections.values():
            if not inner.path.rpartition(".")[2].startswith(known):
                for part in inner.walk():
                    for setting in part.settings.values():
                        tell_known(self._report, setting, None, name)

    # ---- proofs -----------------------------------------------------------------------------------------------

    @staticmethod
    def _rounds(section: Section, side: str) -> list[Section]:
        return [inner for word, inner in section.sections.items() if word.startswith(side)]

    def _proof(self, rounds: list[Section], name: str, *, ours: bool) -> Proof:
        """One end's proof; further rounds were a hurdle already."""
        if not rounds:
            return Proof() if ours else Proof(id=Told(identities.ANY), cas=Told(self._folders.all("x509ca")))
        section = rounds[0]
        options = Options(section.settings, PROOF, self._report, name)
        certs, cas = options.get("certs"), options.get("cacerts")
        pubkeys = options.get("pubkeys")
        certificates = self._folders.named(words(certs.value), "x509") if certs else ()
        authorities = self._folders.named(words(cas.value), "x509ca") if cas else ()
        for word, inner in section.sections.items():
            file = inner.settings.get("file")
            if file is not None and word.startswith("cacert"):
                authorities, cas = (*authorities, *self._folders.named([file.value], ".")), cas or file
            elif file is not None and word.startswith("cert"):
                certificates, certs = (*certificates, *self._folders.named([file.value], ".")), certs or file
            parts = Options(inner.settings, PROOF, self._report, name)
            if file is not None and parts.get("file") and file not in (cas, certs):
                self._report.tell(Fate.MAPPED, file, why="with the others of its kind", connection=name)
            parts.rest()
        method = options.told("auth", "pubkey", _method)
        proof = Proof(
            method=method,
            id=options.told(
                "id", None if ours else identities.ANY, identities.charon, otherwise=None if ours else identities.NOBODY
            ),
            certificates=Told(certificates, certs),
            keys=Told(self._folders.named(words(pubkeys.value), "pubkey") if pubkeys else (), pubkeys),
            cas=Told(authorities, cas) if authorities or ours else Told(self._folders.all("x509ca")),
            revocation=options.one_of(
                "revocation", "relaxed", {"strict": "strict", "ifuri": "ifuri", "relaxed": "relaxed"}
            ),
            padding=_padding(method),
        )
        options.rest()
        self._strangers(section, ("cert", "cacert"), name)
        if ours and proof.method.value == "pubkey":
            given = certificates or (() if proof.keys.value else self._folders.all("x509"))
            proof = replace(proof, certificates=Told(given, certs))
        return proof

    def private_keys(self) -> tuple[Blob, ...]:
        """All private keys there are."""
        return self._folders.all("private", "rsa", "ecdsa", "pkcs8")

    def _authorities(self, connection: Connection, authorities: Section | None) -> None:
        """CRLs and responders of the CAs that the connection has."""
        connection.private_keys = self.private_keys
        own = {blob.name for blob in connection.remote.cas.value}
        crls: list[Told[str | Blob]] = [Told(blob) for blob in self._folders.all("x509crl")]
        ocsps: list[Told[str]] = []
        for section in authorities.sections.values() if authorities else ():
            options = Options(section.settings, AUTHORITY, self._report)
            named = [s for s in (options.get("cacert"), options.get("file")) if s is not None]
            lists, responders = options.get("crl_uris"), options.get("ocsp_uris")
            options.rest()
            for setting in named:
                if not self._report.has(setting):
                    self._report.tell(Fate.MAPPED, setting, why="told from the others by the connections' own CAs")
            if named and not {blob.name for blob in self._folders.named([n.value for n in named], "x509ca")} & own:
                continue
            crls += [Told(uri, lists) for uri in words(lists.value if lists else "")]
            ocsps += [Told(uri, responders) for uri in words(responders.value if responders else "")]
        connection.crls, connection.ocsps = crls, ocsps

    # ---- secrets ----------------------------------------------------------------------------------------------

    def _secrets(self, secrets: Section | None) -> tuple[Psk, ...]:
        found: list[Psk] = []
        for section in secrets.sections.values() if secrets else ():
            word = section.path.rpartition(".")[2]
            if not word.startswith("ike"):
                self._no_psk(section, word)
                continue
            owners: list[str] = []
            value = section.settings.get("secret")
            for name, setting in section.settings.items():
                if name.startswith("id"):
                    try:
                        owners.append(identities.charon(setting.value))
                        self._report.tell(Fate.MAPPED, setting, to="auth", why="says whose secret it is")
                    except ValueError as error:
                        todo = "see whose secret it is"
                        self._report.tell(Fate.DECIDE, setting, why=str(error), todo=todo)
                elif name != "secret":
                    tell_known(self._report, setting, SECRET.get(name), "")
            try:
                if value is not None:
                    found.append(Psk(owners=tuple(owners), key=keys.charon(value.value), setting=value))
            except ValueError as error:
                self._report.tell(Fate.DECIDE, value, why=f"the secret {error}", todo="write it again")
        return tuple(found)

    def _no_psk(self, section: Section, word: str) -> None:
        """Passphrases of keys, tokens, EAP and XAuth."""
        for name, setting in section.settings.items():
            known = SECRET.get(name) if word.startswith(("private", "rsa", "ecdsa", "pkcs", "token")) else None
            if known is not None and known.fate is Fate.DROPPED:
                tell_known(self._report, setting, known, "")
            else:
                why = f"secrets of the kind {word[:20]} are not used here"
                todo = "keep keys unencrypted, mode 0600; use psk or pubkey in the place of EAP"
                self._report.tell(Fate.DROPPED, setting, why=why, todo=todo)

    # ---- children ---------------------------------------------------------------------------------------------

    def _child(self, section: Section, connection: str, above: dict[str, Setting | None]) -> Child:
        options = Options(section.settings, CHILD, self._report, connection)
        esp = partial(algorithms.charon, protocol=algorithms.ESP)
        ah = options.get("ah_proposals")
        child = Child(
            name=section.path.rpartition(".")[2],
            mode=options.one_of(
                "mode", "tunnel", {m: m for m in ("tunnel", "transport", "beet", "pass", "drop", "transport_proxy")}
            ),
            local_ts=options.told("local_ts", ("dynamic",), selectors),
            remote_ts=options.told("remote_ts", ("dynamic",), selectors),
            esp=options.told("esp_proposals", algorithms.charon_default(algorithms.ESP), esp),
            ah=Told(algorithms.charon(ah.value, algorithms.AH), ah) if ah else None,
            time=charon_child_lifetime(options),
            bytes=self._limit(options, "bytes"),
            packets=self._limit(options, "packets"),
            start=options.told("start_action", "none", action),
            on_close=options.told("close_action", "none", action),
            on_dead=options.told("dpd_action", "none", action),
            replay_window=options.told("replay_window", 32, times.number),
            offload=options.one_of(
                "hw_offload",
                "no",
                {"no": "no", "yes": "crypto", "crypto": "crypto", "packet": "packet", "auto": "auto"},
            ),
            df=options.one_of("copy_df", "copy", {w: ("copy" if y == "yes" else "clear") for w, y in _YES_NO.items()}),
            ecn=options.told("copy_ecn", True, times.yes),
            dscp=options.told("copy_dscp", ("copy", "keep"), _dscp),
        )
        self._marks(options, child)
        own = {side: options.get(f"if_id_{side}") or above[side] for side in ("in", "out")}
        child.if_id = self._if_id(own, options)
        options.rest()
        self._strangers(section, (), connection)
        return child

    @staticmethod
    def _limit(options: Options, unit: str) -> Lifetime:
        rekey = options.told(f"rekey_{unit}", 0, times.amount)
        hard = options.told(f"life_{unit}", rekey.value * 110 // 100, times.amount)
        if hard.value and rekey.setting is None:
            rekey = Told(hard.value * 10 // 11, hard.setting)
        return lifetime(rekey, options.told(f"rand_{unit}", -1, times.amount), hard.value - rekey.value, hard)

    @staticmethod
    def _marks(options: Options, child: Child) -> None:
        for name, key in (
            ("mark_in", "mark.inbound"),
            ("mark_out", "mark.outbound"),
            ("set_mark_in", "set_mark.inbound"),
            ("set_mark_out", "set_mark.outbound"),
        ):
            same = child.marks.get(key.removeprefix("set_"))
            told = options.told(name, "", partial(mark, same=same.value if same else ""))
            if told.setting is not None:
                child.marks[key] = told

    def _if_id(self, own: dict[str, Setting | None], options: Options) -> Told[int] | None:
        one, other = own["in"], own["out"]
        if one is None or other is None or one.value.strip() != other.value.strip():
            for setting in filter(None, (one, other)):
                options.cannot(setting, "the two directions differ, and here one if_id is for both")
            return None
        try:
            number = times.number(one.value)
        except ValueError:
            options.cannot(one, "an if_id that is made at run time does not exist here")
            options.cannot(other, "an if_id that is made at run time does not exist here")
            return None
        if one != other:
            options.part(other, "the same in both directions")
        return Told(number, one)


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(
        "any" if w in ("%any", "%any4", "%any6", "0.0.0.0", "::", "0.0.0.0/0", "::/0") else w for w in words(text)
    ) or ("any",)


def _method(text: str) -> str:
    """``pubkey`` with any constraints, or another word as it is."""
    word = text.strip().lower()
    if word.startswith(("pubkey", "rsa", "ecdsa", "ed25519", "ed448", "ike:", "bliss")):
        return "pubkey"
    return word


def _padding(method: Told[str]) -> Told[str]:
    """Which padding of RSA the constraints of ``auth`` ask for."""
    text = method.setting.value.lower() if method.setting is not None else ""
    if "rsa/pss" in text:
        return Told("pss", method.setting)
    return Told("")


def _dscp(text: str) -> tuple[str, str]:
    found = _DSCP.get(text.strip().lower())
    if found is None:
        raise ValueError(f"no value that is known; known are {', '.join(_DSCP)}")
    return found
