"""libreswan's ipsec.conf and ipsec.secrets -> neutral, with pluto's defaults."""

from dataclasses import replace
from functools import partial
from ipaddress import ip_address
from itertools import product

from xfrmctl.importers.dialects.charon import action, mark
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
from xfrmctl.importers.dialects.nss import certificate, private_key, raw_key
from xfrmctl.importers.dialects.options import Options
from xfrmctl.importers.dialects.sides import HOST
from xfrmctl.importers.dialects.source import Source
from xfrmctl.importers.dialects.tables_libreswan import CONN, END, SETUP
from xfrmctl.importers.neutral import Blob, Child, Connection, Lifetime, Offer, Plan, Proof, Start
from xfrmctl.importers.origin import Setting, Told
from xfrmctl.importers.report import Fate
from xfrmctl.importers.words import algorithms, identities, times
from xfrmctl.importers.words.selectors import selector

_MODES = {"tunnel": "tunnel", "transport": "only-transport", "passthrough": "pass", "drop": "drop", "reject": "drop"}
_AUTO: dict[str, Start] = {
    "add": "none",
    "keep": "none",
    "ondemand": "trap",
    "route": "trap",
    "start": "start",
    "up": "start",
}
_GROUPS = ("%group", "%opportunisticgroup", "%opportunistic")
_QUARTER = 4
MAX_PAIRS = 256


def read(source: Source) -> Plan:
    """Read ipsec.conf, its includes, and ipsec.secrets. Raises ImportFault."""
    return _Reader(source).plan()


class _Reader:
    """One configuration."""

    def __init__(self, source: Source) -> None:
        self._source, self._report = source, source.report
        self._ipsec = IpsecFiles(source, _owner, last_also_wins=False)
        self._nss = "/var/lib/ipsec/nss"

    def plan(self) -> Plan:
        """All of it."""
        setup = self._ipsec.setup(SETUP)
        unique = setup.one_of("uniqueids", "replace", {"yes": "replace", "no": "no"})
        keepalive = setup.told("keep-alive", 20, times.seconds)
        nss = setup.get("nssdir")
        if nss is not None:
            self._nss = nss.value
            self._report.tell(Fate.MAPPED, nss, why="certificates and keys are exported from there")
        setup.rest()
        found: list[Connection] = []
        for conn in self._ipsec.conns(CONN, END):
            auto = conn.common.get("auto")
            if auto is None or auto.value.strip().lower() == "ignore":
                self._ipsec.not_loaded(conn, auto)
                continue
            connection = self._connection(conn, auto)
            connection.unique, connection.keepalive_s = unique, keepalive
            found.append(connection)
        return Plan("libreswan", found, self._ipsec.blocks.settings + [p.setting for p in self._ipsec.psks])

    # ---- connections ------------------------------------------------------------------------------------------

    def _connection(self, conn: Conn, auto: Setting) -> Connection:
        options = conn.common
        self._ipsec.tell_guess(conn)
        margin = options.told("rekeymargin", 540, times.seconds)
        tell_margin(self._report, margin, conn.name)
        rekeys = options.told("rekey", True, times.yes)
        tell_rekeys(self._report, rekeys, conn.name)
        margins = Margins(margin, options.told("rekeyfuzz", 100, percent), rekeys)
        ike = margins.of(options.told("ikelifetime", 8 * 3600, times.seconds))
        reauth = options.told("reauth", False, times.yes)
        mode = options.one_of("type", "tunnel", _MODES)
        connection = Connection(
            name=conn.name,
            place=conn.place,
            settings=list(conn.settings.values()),
            local_addresses=host_of(conn.local),
            remote_addresses=host_of(conn.remote),
            ike=options.told(
                "ike", algorithms.pluto("", algorithms.IKE), partial(algorithms.pluto, protocol=algorithms.IKE)
            ),
            time=Lifetime(rekey=Told(0, reauth.setting) if reauth.value else ike.rekey, earliest=ike.earliest),
            reauth=ike.rekey if reauth.value else Told(0, reauth.setting),
            dpd_s=options.told("dpddelay", 0, times.seconds),
            encap=self._encap(conn),
            mobike=options.told("mobike", False, times.yes),
            fragmentation=options.one_of("fragmentation", "auto", {"yes": "auto", "force": "auto", "no": "off"}),
            tries=options.told("keyingtries", 0, _tries),
            retransmit=self._retransmit(conn),
            psks=self._ipsec.psks,
        )
        connection.hurdle = self._hurdle(conn, mode.value in ("pass", "drop"))
        connection.local = self._proof(conn, conn.local, ours=True)
        connection.remote = self._proof(conn, conn.remote, ours=False)
        connection.children = self._children(conn, mode, auto, margins, connection.ike.value)
        tell_rest(conn)
        return connection

    @staticmethod
    def _encap(conn: Conn) -> Told[str]:
        words = {"yes": "always", "no": "never", "auto": "auto"}
        found = conn.common.one_of("encapsulation", "auto", words)
        older = conn.common.one_of("forceencaps", "auto", {"yes": "always", "no": "auto"})
        return older if found.setting is None else found

    def _retransmit(self, conn: Conn) -> Told[tuple[int, int]]:
        """First wait in ms, and the time in seconds after which the peer counts as dead."""
        first = conn.common.told("retransmit-interval", 500, _milliseconds)
        whole = conn.common.told("retransmit-timeout", 60, times.seconds)
        dead = conn.common.get("dpdtimeout")
        if dead is not None:
            why = "a peer is dead when a request has gone unanswered for as long as ike.retransmit says"
            self._report.tell(Fate.CHANGED, dead, to="ike.retransmit", why=why, connection=conn.name)
        if first.setting is not None and whole.setting is not None:
            self._report.tell(Fate.MAPPED, first.setting, to="ike.retransmit.first", connection=conn.name)
        return Told((first.value, whole.value), whole.setting or first.setting)

    def _hurdle(self, conn: Conn, shunt: bool) -> tuple[Setting | None, str, str] | None:
        versions = [s for s in (conn.common.get("ikev2"), conn.common.get("keyexchange")) if s is not None]
        ppk = conn.common.get("ppk")
        virtual = [
            setting
            for end in (conn.local, conn.remote)
            for name in ("addresspool", "modecfgserver", "modecfgclient", "xauthserver", "xauthclient", "autheap")
            if (setting := end.get(name)) is not None
        ]
        for setting in versions:
            if setting.value.strip().lower() in ("no", "never", "permit", "ikev1"):
                return setting, "IKEv1 does not exist here", "have the peer speak IKEv2, and import again"
            self._report.tell(Fate.MAPPED, setting, why="IKEv2 is what there is", connection=conn.name)
        for setting in virtual:
            if setting.value.strip().lower() not in ("no", "none"):
                why = "addresses are not handed out here, nor asked for; XAuth and EAP do not exist"
                return setting, why, "give both ends fixed networks, and psk or certificates"
            self._report.tell(Fate.MAPPED, setting, why="as it is here", connection=conn.name)
        if ppk is not None and ppk.value.strip().lower() == "insist":
            return ppk, "post-quantum pre-shared keys (RFC 8784) do not exist here", "do without at both ends"
        if ppk is not None:
            self._report.tell(Fate.DROPPED, ppk, why="there are no post-quantum pre-shared keys", connection=conn.name)
        for side in (conn.sides.local, conn.sides.remote):
            host = side.get(HOST)
            if host is not None and host.value.strip().lower() in _GROUPS:
                return (
                    host,
                    "opportunistic encryption and its groups do not exist here",
                    "write connections or policies",
                )
        by = conn.common.get("authby")
        for method in (by, conn.local.get("auth"), conn.remote.get("auth")) if not shunt else ():
            if method is not None and method.value.strip().lower() in ("null", "never", "eaponly"):
                why = f"the method {method.value.strip().lower()} does not exist here"
                return method, why, "use secret or certificates at both ends"
        return None

    # ---- proofs -----------------------------------------------------------------------------------------------

    def _proof(self, conn: Conn, end: Options, *, ours: bool) -> Proof:
        by, own = conn.common.get("authby"), end.get("auth")
        method = own or by
        if own is not None and by is not None:
            self._report.tell(Fate.MAPPED, by, why=f"{own.name} says it of that end", connection=conn.name)
        found = Proof(method=Told(_method(method.value) if method else "pubkey", method), id=self._id(end, ours))
        if method is not None and "sha1" in method.value.lower():
            found = replace(found, padding=Told("sha1", method))
        return self._certificates(end, found, conn.name, ours=ours)

    def _id(self, end: Options, ours: bool) -> Told[str | None]:
        setting = end.get("id")
        if setting is not None and setting.value.strip().lower() in ("%fromcert", "%none"):
            self._report.tell(Fate.MAPPED, setting, why="the certificate says it, or else the address")
            return Told(None) if ours else Told(None, setting)
        return end.told("id", None, identities.pluto, otherwise=None if ours else identities.NOBODY)

    def _certificates(self, end: Options, found: Proof, name: str, *, ours: bool) -> Proof:
        """All that lies in NSS has to be exported; public keys in the file are taken."""
        cert, ckaid, ca, key = (end.get(option) for option in ("cert", "ckaid", "ca", "rsasigkey"))
        blobs: tuple[Blob, ...] = ()
        if key is not None and key.value.strip().startswith("%"):
            self._report.tell(Fate.MAPPED, key, why="the certificate has it", connection=name)
        elif key is not None:
            try:
                blobs = (raw_key(key.value),)
            except ValueError as error:
                end.cannot(key, str(error))
        for setting in (ckaid, ca):
            if setting is not None:
                why, todo = "certificates lie in NSS there, and in files here", "see what has to be exported"
                self._report.tell(Fate.CHANGED, setting, to="auth", why=why, todo=todo, connection=name)
        nickname = cert.value if cert is not None else name
        if found.method.value != "pubkey":
            for setting in filter(None, (cert, key if blobs else None)):
                self._report.tell(
                    Fate.DROPPED, setting, why="this end proves itself by another method", connection=name
                )
            return found
        if blobs:
            return replace(found, keys=Told(blobs, key), private=private_key(nickname, self._nss))
        if ours:
            own = Told((certificate(nickname, self._nss),), cert)
            return replace(found, certificates=own, private=private_key(nickname, self._nss))
        if cert is not None:
            why = "the peer's certificate is not pinned: its CA and its identity are what counts"
            self._report.tell(Fate.CHANGED, cert, to="auth.ca", why=why, connection=name)
        return replace(found, cas=Told((certificate("CA", self._nss),)))

    # ---- children ---------------------------------------------------------------------------------------------

    def _children(self, conn: Conn, mode: Told[str], auto: Setting, margins: Margins, ike: Offer) -> list[Child]:
        """One, or with ``subnets`` one for each pair, as pluto has them."""
        first = self._child(conn, mode, auto, margins, ike)
        sides = [
            self._nets(options, told)
            for options, told in ((conn.local, first.local_ts), (conn.remote, first.remote_ts))
        ]
        pairs = list(product(*(side.value for side in sides)))
        if len(pairs) == 1 or len(pairs) > MAX_PAIRS:
            both = [Told(side.value, side.setting) for side in sides]
            return [replace(first, local_ts=both[0], remote_ts=both[1])]
        return [
            replace(
                first,
                name=f"{conn.name}-{number}",
                local_ts=Told((local,), sides[0].setting),
                remote_ts=Told((remote,), sides[1].setting),
            )
            for number, (local, remote) in enumerate(pairs, 1)
        ]

    @staticmethod
    def _nets(options: Options, subnet: Told[tuple[str, ...]]) -> Told[tuple[str, ...]]:
        """``subnets`` and ``subnet`` together."""
        none: tuple[str, ...] = ()
        several = options.told("subnets", none, _several)
        if several.setting is None:
            return subnet
        return Told(several.value + (subnet.value if subnet.setting else ()), several.setting)

    def _child(self, conn: Conn, mode: Told[str], auto: Setting, margins: Margins, ike: Offer) -> Child:
        options = conn.common
        life = options.told("salifetime", 8 * 3600, times.seconds)
        for older in ("lifetime", "keylife"):
            life = options.told(older, 8 * 3600, times.seconds) if life.setting is None else life
        child = Child(
            name=conn.name,
            mode=mode,
            local_ts=subnets(conn.local, _selectors),
            remote_ts=subnets(conn.remote, _selectors),
            time=margins.of(life),
            bytes=_quarter(options.told("ipsec-max-bytes", 0, times.amount)),
            packets=_quarter(options.told("ipsec-max-packets", 0, times.amount)),
            start=Told(_AUTO.get(auto.value.strip().lower(), "none"), auto),
            on_close=Told("none"),
            on_dead=options.told("dpdaction", "trap", action),
            replay_window=options.told("replay-window", 128, times.number),
            offload=options.one_of(
                "nic-offload",
                "no",
                {"no": "no", "yes": "crypto", "crypto": "crypto", "packet": "packet", "auto": "auto"},
            ),
            df=options.one_of("nopmtudisc", "copy", {"yes": "clear", "no": "copy"}),
            dscp=self._dscp(options),
        )
        self._algorithms(conn, child, ike)
        self._device(conn, child)
        mtu = options.told("mtu", 0, times.number)
        child.mtu = mtu if mtu.setting is not None else None
        return child

    @staticmethod
    def _dscp(options: Options) -> Told[tuple[str, str]]:
        """Out they are copied; in only with ``decap-dscp``."""
        decap = options.told("decap-dscp", False, times.yes)
        return Told(("copy", "copy" if decap.value else "keep"), decap.setting)

    def _algorithms(self, conn: Conn, child: Child, ike: Offer) -> None:
        """``esp`` or ``ah``; with ``pfs`` the groups of ``ike`` in whatever has none."""
        options = conn.common
        pfs, esn = options.told("pfs", True, times.yes), options.get("esn")
        said = [s for s in (options.get("phase2alg"), options.get("esp"), options.get("ah")) if s is not None]
        phase2 = options.get("phase2")
        spelled = {"yes": "esn", "no": "noesn", "either": "esn-noesn"}.get(
            esn.value.strip().lower() if esn else "either"
        )
        if spelled is None or child.replay_window.value == 0:
            spelled = "noesn"
        for setting in (pfs.setting, esn, phase2):
            if setting is not None:
                self._report.tell(Fate.MAPPED, setting, why="it is in the proposals of the child", connection=conn.name)
        is_ah = (phase2 is not None and phase2.value.strip().lower() == "ah") or options.get("ah") in said[:1]
        groups = algorithms.groups_of(ike) if pfs.value else ()
        protocol = algorithms.AH if is_ah else algorithms.ESP
        text = said[0] if said else None
        offer = algorithms.pluto(text.value if text else "", protocol, groups=groups, esn=spelled)
        if is_ah:
            child.ah = Told(offer, text or phase2)
        else:
            child.esp = Told(offer, text)
        for setting in said[1:]:
            self._report.tell(Fate.DROPPED, setting, why="said twice; the other one was taken", connection=conn.name)

    def _device(self, conn: Conn, child: Child) -> None:
        """An interface; the marks that lead into a VTI are not needed then."""
        options = conn.common
        vti, xfrm = options.get("vti-interface"), options.get("ipsec-interface")
        marks = {side: options.told(f"mark-{side}", "", mark) for side in ("in", "out")}
        both = options.told("mark", "", mark)
        device = self._named(xfrm, vti)
        if device is not None:
            child.interface = device
            for told in (both, *marks.values()):
                if told.setting is not None:
                    why = "the interface tells its packets by itself"
                    self._report.tell(Fate.CHANGED, told.setting, why=why, connection=conn.name)
            return
        for side, told in marks.items():
            chosen = told if told.setting is not None else both
            if chosen.setting is not None:
                child.marks[f"mark.{side}bound"] = chosen

    def _named(self, xfrm: Setting | None, vti: Setting | None) -> Told[str] | None:
        """``ipsec-interface``: yes is ipsec1, a number is that one, 0 and no are none."""
        if xfrm is not None and xfrm.value.strip().lower() not in ("no", "0"):
            word = xfrm.value.strip().lower()
            return Told(f"ipsec{1 if word == 'yes' else word.removeprefix('ipsec')}", xfrm)
        if xfrm is not None:
            self._report.tell(Fate.MAPPED, xfrm, why="no interface")
        return Told(vti.value.strip(), vti) if vti is not None else None


def _quarter(told: Told[int]) -> Lifetime:
    """Pluto rekeys at a quarter of the limit as the one that has begun (ipsec.conf(5), ipsec-max-bytes)."""
    return Lifetime(rekey=Told(told.value // _QUARTER, told.setting), hard=told)


def _owner(text: str) -> str:
    """An owner of a secret; a bare name stands for what it is called here, as nothing is looked up."""
    try:
        return identities.pluto(text)
    except ValueError:
        return identities.charon(text)


def _selectors(text: str) -> tuple[str, ...]:
    """``subnet``; an address alone is itself."""
    word = text.strip()
    if word.startswith(("vhost:", "vnet:", "%")):
        raise ValueError(f"{word.partition(':')[0]} is made from something else at run time; write the networks")
    try:
        return (str(ip_address(word)) + ("/128" if ":" in word else "/32"),)
    except ValueError:
        return tuple(selector(part) for part in word.split(","))


def _several(text: str) -> tuple[str, ...]:
    """``{10.1.0.0/16 10.3.0.0/16}``, with blanks or commas."""
    found = tuple(selector(word) for word in text.strip().strip("{}").replace(",", " ").split())
    if not found:
        raise ValueError("no networks")
    return found


def _method(text: str) -> str:
    words = [word.strip() for word in text.lower().replace("|", ",").split(",")]
    return "psk" if words[0] in ("secret", "psk") else "pubkey"


def _tries(text: str) -> int:
    return 0 if text.strip().lower() == "%forever" else times.number(text)


def _milliseconds(text: str) -> int:
    """``500`` and ``500ms`` are milliseconds, ``1s`` is a thousand."""
    word = text.strip().lower().removesuffix("ms")
    return times.number(word) if word.isascii() and word.isdecimal() else 1000 * times.seconds(word)
