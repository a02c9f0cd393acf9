"""strongSwan's ipsec.conf and ipsec.secrets -> neutral, with the defaults of its starter."""

from functools import partial

from xfrmctl.importers.dialects.charon import BOTH, action, mark
from xfrmctl.importers.dialects.charon import selectors as charon_selectors
from xfrmctl.importers.dialects.credentials import Folders, words
from xfrmctl.importers.dialects.ipsec import (
    Conn,
    IpsecFiles,
    Margins,
    host_of,
    percent,
    subnets,
    tell_margin,
    tell_rekeys,
    tell_rest,
)
from xfrmctl.importers.dialects.options import Options
from xfrmctl.importers.dialects.source import Source
from xfrmctl.importers.dialects.tables_strongswan import CA, CONN, END, SETUP
from xfrmctl.importers.neutral import Blob, Child, Connection, Lifetime, Plan, Proof, Start
from xfrmctl.importers.origin import Setting, Told
from xfrmctl.importers.report import Fate
from xfrmctl.importers.words import algorithms, identities, times
from xfrmctl.importers.words.rawkeys import public_key

IKE_DEFAULT, ESP_DEFAULT = "aes128-sha256-modp3072", "aes128-sha256"
_MODES = {
    **{mode: mode for mode in ("tunnel", "transport", "beet", "transport_proxy", "pass", "drop")},
    **{"passthrough": "pass", "reject": "drop"},
}
_AUTO: dict[str, Start] = {"add": "none", "route": "trap", "start": "start"}
_PSK = ("psk", "secret")
_PUBKEY = ("pubkey", "rsasig", "ecdsasig", "rsa", "ecdsa", "ed25519", "ed448", "ike:", "bliss")


def read(source: Source) -> Plan:
    """Read ipsec.conf, its includes, and ipsec.secrets. Raises ImportFault."""
    return _Reader(source).plan()


class _Reader:
    """One configuration."""

    def __init__(self, source: Source) -> None:
        self._source, self._report = source, source.report
        self._ipsec = IpsecFiles(source, identities.charon, last_also_wins=True)
        self._folders = Folders(source.files, self._ipsec.base)

    def plan(self) -> Plan:
        """All of it."""
        setup = self._ipsec.setup(SETUP)
        unique = setup.one_of(
            "uniqueids",
            "replace",
            {"yes": "replace", "replace": "replace", "no": "no", "never": "no", "keep": "keep"},
        )
        strict = setup.one_of("strictcrlpolicy", "relaxed", {"yes": "strict", "ifuri": "ifuri", "no": "relaxed"})
        setup.rest()
        cas, crls, ocsps = self._authorities()
        found: list[Connection] = []
        for conn in self._ipsec.conns(CONN, END):
            auto = conn.common.get("auto")
            if auto is None or auto.value.strip().lower() == "ignore":
                self._ipsec.not_loaded(conn, auto)
                continue
            connection = self._connection(conn, auto, cas, strict)
            connection.unique = unique
            connection.crls, connection.ocsps = crls, ocsps
            found.append(connection)
        return Plan("strongSwan", found, self._ipsec.blocks.settings + [p.setting for p in self._ipsec.psks])

    # ---- connections ------------------------------------------------------------------------------------------

    def _connection(self, conn: Conn, auto: Setting, cas: tuple[Blob, ...], strict: Told[str]) -> Connection:
        options = conn.common
        self._ipsec.tell_guess(conn)
        margin = options.told("margintime", 540, times.seconds)
        if margin.setting is None:
            margin = options.told("rekeymargin", 540, times.seconds)
        tell_margin(self._report, margin, conn.name)
        rekeys = options.told("rekey", True, times.yes)
        tell_rekeys(self._report, rekeys, conn.name)
        margins = Margins(margin, options.told("rekeyfuzz", 100, percent), rekeys)
        ike = margins.of(options.told("ikelifetime", 3 * 3600, times.seconds))
        reauth = options.told("reauth", True, times.yes)
        connection = Connection(
            name=conn.name,
            place=conn.place,
            settings=list(conn.settings.values()),
            local_addresses=host_of(conn.local),
            remote_addresses=self._remote_host(conn),
            ike=options.told(
                "ike",
                algorithms.charon(IKE_DEFAULT, algorithms.IKE, strict=False),
                partial(algorithms.charon, protocol=algorithms.IKE, strict=False),
            ),
            time=Lifetime(rekey=Told(0, reauth.setting)) if reauth.value and ike.rekey.value else _soft(ike),
            reauth=ike.rekey if reauth.value else Told(0, reauth.setting),
            encap=options.one_of("forceencaps", "auto", {"yes": "always", "no": "auto"}),
            mobike=options.told("mobike", True, times.yes),
            fragmentation=options.one_of(
                "fragmentation", "auto", {"yes": "auto", "force": "auto", "accept": "accept", "no": "off"}
            ),
            tries=options.told("keyingtries", 3, _tries),
            psks=self._ipsec.psks,
            private_keys=self._private_keys,
            fetches=True,
        )
        mode = options.one_of("type", "tunnel", _MODES)
        if mode.setting is not None and mode.setting.value.strip().lower() == "reject":
            why = "drop: nobody is told that the packet was rejected"
            self._report.tell(Fate.CHANGED, mode.setting, why=why, connection=conn.name)
        connection.hurdle = self._hurdle(conn, shunt=mode.value in ("pass", "drop"))
        connection.local = self._proof(conn, conn.local, (), strict)
        connection.remote = self._proof(conn, conn.remote, cas, strict)
        connection.dpd_s, on_dead = self._liveness(options)
        child = self._child(conn, mode, auto, margins)
        child.on_dead = on_dead
        connection.children.append(child)
        tell_rest(conn)
        return connection

    def _remote_host(self, conn: Conn) -> Told[tuple[str, ...]]:
        """``rightallowany`` is what happens here anyway, once the address is any."""
        for options in (conn.local, conn.remote):
            allow = options.get("allowany")
            if allow is not None:
                why = "who calls from elsewhere is known by his proof only where remote.address is any"
                self._report.tell(Fate.CHANGED, allow, why=why, connection=conn.name)
        return host_of(conn.remote)

    def _hurdle(self, conn: Conn, *, shunt: bool) -> tuple[Setting | None, str, str] | None:
        exchange = conn.common.get("keyexchange")
        mediated = [s for s in (conn.common.get("mediation"), conn.common.get("mediated_by")) if s]
        second = [s for s in (conn.local.get("auth2"), conn.remote.get("auth2")) if s]
        virtual = [s for s in (conn.local.get("sourceip"), conn.remote.get("sourceip")) if s]
        if exchange is not None and exchange.value.strip().lower() == "ikev1":
            return exchange, "IKEv1 does not exist here", "have the peer speak IKEv2, and import again"
        if exchange is not None:
            both = exchange.value.strip().lower() != "ikev2"
            why = "IKEv2 only: IKEv1 does not exist here" if both else ""
            self._report.tell(Fate.CHANGED if both else Fate.MAPPED, exchange, why=why, connection=conn.name)
        elif not shunt:
            self._report.tell(Fate.CHANGED, None, option="keyexchange", why=BOTH, connection=conn.name)
        for setting in virtual:
            return setting, "virtual addresses are not handed out here, nor asked for", "give both ends fixed networks"
        for setting in second:
            return setting, "several rounds of proofs (RFC 4739) do not exist here", "keep one at both ends"
        for setting in mediated:
            if setting.value.strip().lower() != "no":
                return setting, "mediation does not exist here", "do without it at both ends"
            conn.common.part(setting, "as it is here")
        methods = (conn.common.get("authby"), conn.local.get("auth"), conn.remote.get("auth"))
        for method in methods if not shunt else ():
            if method is not None and method.value.strip().lower().startswith(("eap", "xauth", "never")):
                return method, "EAP and XAuth do not exist here", "use pubkey or psk at both ends"
        return None

    # ---- proofs -----------------------------------------------------------------------------------------------

    def _proof(self, conn: Conn, end: Options, cas: tuple[Blob, ...], strict: Told[str]) -> Proof:
        by, own = conn.common.get("authby"), end.get("auth")
        method = own or by
        if own is not None and by is not None:
            self._report.tell(Fate.MAPPED, by, why=f"{own.name} says it of that end", connection=conn.name)
        cert = end.get("cert")
        certificates = self._folders.named(words(cert.value), "certs") if cert else ()
        keys = self._raw_keys(end)
        return Proof(
            method=Told(_method(method.value) if method else "pubkey", method),
            id=end.told("id", None, identities.charon, otherwise=identities.NOBODY if end is conn.remote else None),
            certificates=Told(certificates, cert),
            keys=keys,
            cas=Told(cas),
            revocation=strict,
        )

    def _raw_keys(self, end: Options) -> Told[tuple[Blob, ...]]:
        for name in ("sigkey", "rsasigkey"):
            setting = end.get(name)
            if setting is None:
                continue
            text = setting.value.strip()
            if text in ("%cert", "%none"):
                self._report.tell(Fate.MAPPED, setting, why="the certificate has it")
            elif text[:2].lower() in ("0s", "0x") or text.startswith("dns:"):
                try:
                    return Told((Blob(name=name, content=public_key(text)),), setting)
                except ValueError as error:
                    end.cannot(setting, str(error))
            else:
                return Told(self._folders.named([text], "certs"), setting)
        return Told(())

    def _private_keys(self) -> tuple[Blob, ...]:
        named = self._folders.named(self._ipsec.key_files, "private")
        return (*named, *self._folders.all("private"))

    def _authorities(self) -> tuple[tuple[Blob, ...], list[Told[str | Blob]], list[Told[str]]]:
        """CAs that lie where they are kept and those of sections, lists and responders."""
        cas = list(self._folders.all("cacerts"))
        crls: list[Told[str | Blob]] = [Told(blob) for blob in self._folders.all("crls")]
        ocsps: list[Told[str]] = []
        for block in self._ipsec.blocks.of("ca"):
            options = Options(self._ipsec.section(block), CA, self._report, block.name)
            auto, cacert = options.get("auto"), options.get("cacert")
            uris = [options.get(name) for name in ("crluri", "crluri1", "crluri2")]
            responders = [options.get(name) for name in ("ocspuri", "ocspuri1", "ocspuri2")]
            options.rest()
            if auto is None or auto.value.strip().lower() == "ignore":
                continue
            self._report.tell(Fate.MAPPED, auto, why="the CA is used")
            if cacert is not None:
                cas += self._folders.named([cacert.value], "cacerts")
                self._report.tell(Fate.MAPPED, cacert, to="auth.ca")
            crls += [Told(s.value.strip(), s) for s in uris if s is not None]
            ocsps += [Told(s.value.strip(), s) for s in responders if s is not None]
        return tuple({blob.name: blob for blob in cas}.values()), crls, ocsps

    # ---- children ---------------------------------------------------------------------------------------------

    @staticmethod
    def _liveness(options: Options) -> tuple[Told[int], Told[Start]]:
        """dpdaction=none, the default, asks nobody."""
        on_dead: Told[Start] = options.told("dpdaction", "none", action)
        delay = options.told("dpddelay", 30, times.seconds)
        if on_dead.setting is None or on_dead.setting.value.strip().lower() == "none":
            return Told(0, on_dead.setting or delay.setting), Told("none")
        return Told(delay.value, delay.setting or on_dead.setting), on_dead

    def _child(self, conn: Conn, mode: Told[str], auto: Setting, margins: Margins) -> Child:
        options = conn.common
        life = options.told("lifetime", 3600, times.seconds)
        if life.setting is None:
            life = options.told("keylife", 3600, times.seconds)
        ah = options.get("ah")
        child = Child(
            name=conn.name,
            mode=mode,
            local_ts=subnets(conn.local, _selectors),
            remote_ts=subnets(conn.remote, _selectors),
            esp=options.told(
                "esp",
                algorithms.charon(ESP_DEFAULT, algorithms.ESP, strict=False),
                partial(algorithms.charon, protocol=algorithms.ESP, strict=False),
            ),
            ah=Told(algorithms.charon(ah.value, algorithms.AH, strict=False), ah) if ah else None,
            time=margins.of(life),
            bytes=self._limit(options, margins, "bytes"),
            packets=self._limit(options, margins, "packets"),
            start=Told(_AUTO.get(auto.value.strip().lower(), "none"), auto),
            on_close=options.told("closeaction", "none", action),
            replay_window=options.told("replay_window", 32, times.number),
        )
        both = options.told("mark", "", mark)
        for side in ("in", "out"):
            one = options.told(f"mark_{side}", "", mark)
            chosen = one if one.setting is not None else both
            if chosen.setting is not None:
                child.marks[f"mark.{side}bound"] = chosen
        child.if_id = self._if_id(options)
        return child

    def _limit(self, options: Options, margins: Margins, unit: str) -> Lifetime:
        life = options.told(f"life{unit}", 0, times.amount)
        margin = options.told(f"margin{unit}", 0, times.amount)
        tell_margin(self._report, margin, "")
        return margins.of(life, margin) if life.value else Lifetime(hard=life)

    @staticmethod
    def _if_id(options: Options) -> Told[int] | None:
        """Both directions have to say the same."""
        one, other = (options.told(f"if_id_{side}", 0, times.number) for side in ("in", "out"))
        if one.setting is None and other.setting is None:
            return None
        if one.value == other.value:
            if other.setting is not None:
                options.part(other.setting, "the same in both directions")
            return one
        for told in (one, other):
            if told.setting is not None:
                options.cannot(told.setting, "the two directions differ, and here one if_id is for both")
        return None


def _soft(time: Lifetime) -> Lifetime:
    """An IKE SA has no hard limit here."""
    return Lifetime(rekey=time.rekey, earliest=time.earliest)


def _selectors(text: str) -> tuple[str, ...]:
    return charon_selectors(text.replace("%dynamic", "dynamic"))


def _method(text: str) -> str:
    word = text.strip().lower()
    if word in _PSK:
        return "psk"
    return "pubkey" if word.startswith(_PUBKEY) else word


def _tries(text: str) -> int:
    return 0 if text.strip().lower() == "%forever" else times.number(text)
