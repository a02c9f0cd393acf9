"""VyOS's ``vpn ipsec`` -> neutral. VyOS writes strongSwan's configuration of it, so strongSwan's defaults hold."""

import re
from collections.abc import Sequence

from xfrmctl.importers.dialects.charon import CHILDLESS, action, lifetime
from xfrmctl.importers.dialects.options import Options, tell_known
from xfrmctl.importers.dialects.source import Source
from xfrmctl.importers.dialects.tables_vyos import ESP_GROUP, IKE_GROUP, OTHER, PEER
from xfrmctl.importers.dialects.vyos_credentials import Credentials
from xfrmctl.importers.neutral import Child, Connection, Lifetime, Offer, Plan, Psk, Start
from xfrmctl.importers.origin import Place, Setting, Told
from xfrmctl.importers.report import Fate
from xfrmctl.importers.syntax.vyos_conf import Node, parse, values
from xfrmctl.importers.words import algorithms, times
from xfrmctl.importers.words.selectors import selector

_START: dict[str, Start] = {"initiate": "start", "respond": "trap", "none": "none"}
_VALUELESS = ("disable", "disable-mobike", "disable-rekey", "force-udp-encapsulation", "use-x509-id")
_EVERYTHING = ("0.0.0.0/0", "::/0")


def read(source: Source) -> Plan:
    """Read config.boot, or set commands. Raises ImportFault."""
    return _Reader(source).plan()


def flat(node: Node | None) -> dict[str, Setting]:
    """All options beneath a node by their paths from it on; of several values of one option the last.

    ``disable`` is an option of the node itself, and a value of others: ``mobike disable``.
    """
    found: dict[str, Setting] = {}
    for leaf in node.leaves() if node else ():
        words = list(leaf.path[len(node.path) :]) if node else []
        if not words:
            continue
        is_flag = words[-1] in _VALUELESS and (words[-1] != "disable" or len(words) == 1)
        name = " ".join(words if is_flag else words[:-1]) or words[0]
        found[name] = leaf.setting
    return found


class _Reader:
    """One configuration."""

    def __init__(self, source: Source) -> None:
        self._source, self._report = source, source.report
        self._root = parse(source.text, source.name)
        self._ipsec = self._root.get("vpn", "ipsec") or self._root.get("ipsec") or Node((), Place(source.name, 1))
        self._credentials = Credentials(source, self._root, self._ipsec)

    def plan(self) -> Plan:
        """All of it."""
        psks = self._credentials.psks()
        peers = self._ipsec.get("site-to-site", "peer")
        found = [self._peer(peer, psks) for peer in (peers.inner.values() if peers else ())]
        self._others()
        settings = [leaf.setting for leaf in self._ipsec.leaves() if leaf.path]
        return Plan("VyOS", found, settings)

    # ---- peers ------------------------------------------------------------------------------------------------

    def _peer(self, peer: Node, psks: Sequence[Psk]) -> Connection:
        name = peer.name
        plain = {k: s for k, s in flat(peer).items() if not k.startswith("tunnel ")}
        options = Options(plain, PEER, self._report, name)
        groups = {kind: options.get(f"{kind}-group") for kind in ("ike", "default-esp")}
        ike = self._group("ike-group", groups["ike"], name)
        liveness = ike.told("dead-peer-detection interval", 30, times.seconds)
        self._own_group(ike, groups["ike"])
        rekey = ike.told("lifetime", 28800, times.seconds)
        reauth = self._reauth(options, ike)
        proposals, lines = self._proposals(ike_node := self._group_node("ike-group", groups["ike"]), IKE_GROUP, name)
        has_dpd = ike_node is not None and ike_node.get("dead-peer-detection") is not None
        connection = Connection(
            name=name.removeprefix("@"),
            place=peer.place,
            settings=[leaf.setting for leaf in peer.leaves()],
            local_addresses=self._local(options),
            remote_addresses=self._remote(options, peer),
            ike=Told(algorithms.charon(",".join(lines), algorithms.IKE), proposals),
            time=Lifetime(rekey=Told(0, rekey.setting) if reauth.value else rekey),
            reauth=Told(rekey.value, reauth.setting) if reauth.value else Told(0, reauth.setting),
            dpd_s=liveness if has_dpd else Told(0),
            encap=self._encap(options),
            mobike=self._mobike(ike),
            childless=options.one_of("childless", "allow", CHILDLESS),
            tries=Told(0),
            private_keys=self._credentials.privates,
            fetches=True,
        )
        if self._ipsec.get("disable-uniqreqids") is not None:
            connection.unique = Told("no", self._ipsec.inner["disable-uniqreqids"].setting)
        version = ike.get("key-exchange")
        connection.local, connection.remote = self._credentials.proofs(options, peer, connection)
        connection.psks = [*self._credentials.own_psk(options), *psks]
        on_close: Told[Start] = ike.told("close-action", "none", action)
        on_dead: Told[Start] = ike.told("dead-peer-detection action", "none", action)
        connection.hurdle = self._hurdle(options, version, name)
        self._children(peer, options, groups, connection, (on_close, on_dead), lines)
        for part in (ike, options):
            part.rest()
        return connection

    def _hurdle(self, options: Options, version: Setting | None, name: str) -> tuple[Setting | None, str, str] | None:
        off, virtual = options.get("disable"), options.get("virtual-address")
        if off is not None:
            return off, "it is disabled there", "take disable out and import again, if it is wanted"
        if version is not None and version.value == "ikev1":
            return version, "IKEv1 does not exist here", "have the peer speak IKEv2, and import again"
        if virtual is not None:
            return virtual, "virtual addresses are not asked for here", "give both ends fixed networks"
        if version is not None:
            self._report.tell(Fate.MAPPED, version, why="IKEv2 is what there is", connection=name)
        else:
            why = "where nothing is written it is IKEv1 in VyOS 1.2 and 1.3, and both from 1.4 on; here it is IKEv2"
            todo = "see that the peer speaks IKEv2"
            self._report.tell(Fate.CHANGED, None, option="key-exchange", why=why, todo=todo, connection=name)
        return None

    @staticmethod
    def _local(options: Options) -> Told[tuple[str, ...]]:
        dhcp = options.get("dhcp-interface")
        told = options.told("local-address", ("any",), lambda text: (text.strip(),))
        if dhcp is not None and told.setting is None:
            return Told(("any",), dhcp)
        if dhcp is not None:
            options.part(dhcp, "local-address says which")
        return told

    def _remote(self, options: Options, peer: Node) -> Told[tuple[str, ...]]:
        """Of 1.3 the peer's name is its address, or with @ its identity."""
        self._others_of(values(peer.get("remote-address")))
        several = tuple(s.value for s in values(peer.get("remote-address")))
        default: tuple[str, ...] = ("any",)
        told = options.told("remote-address", default, lambda text: several or (text,))
        if told.setting is not None:
            return told
        is_old = re.fullmatch(r"[0-9a-fA-F.:]+|[^@]+\.[^@]+", peer.name) and not options.get("remote-address")
        return Told((peer.name if is_old else "any",), Setting(" ".join(peer.path), "", peer.place) if is_old else None)

    @staticmethod
    def _encap(options: Options) -> Told[str]:
        newer = options.get("force-udp-encapsulation")
        older = options.told("force-encapsulation", False, times.yes)
        if newer is not None:
            return Told("always", newer)
        return Told("always" if older.value else "auto", older.setting)

    @staticmethod
    def _mobike(ike: Options) -> Told[bool]:
        off, older = ike.get("disable-mobike"), ike.get("mobike")
        if off is not None:
            return Told(False, off)
        return Told(older.value.strip() != "disable", older) if older is not None else Told(True)

    def _reauth(self, options: Options, ike: Options) -> Told[bool]:
        own, group = options.get("ikev2-reauth"), ike.get("ikev2-reauth")
        if own is not None and own.value.strip() != "inherit":
            if group is not None:
                self._report.tell(Fate.MAPPED, group, why="the peer's own setting holds")
            return Told(own.value.strip() == "yes", own)
        if own is not None:
            self._report.tell(Fate.MAPPED, own, why="that of the group holds")
        # A word with a value until 1.3, and one without from 1.4 on.
        return Told(group.value.strip() in ("yes", "ikev2-reauth"), group) if group is not None else Told(False)

    # ---- groups -----------------------------------------------------------------------------------------------

    def _group_node(self, kind: str, name: Setting | None) -> Node | None:
        return self._ipsec.get(kind, name.value) if name is not None else None

    def _group(self, kind: str, name: Setting | None, peer: str) -> Options:
        node = self._group_node(kind, name)
        if name is not None and node is None:
            why, todo = "there is no such group", "its defaults were taken"
            self._report.tell(Fate.DECIDE, name, why=why, todo=todo, connection=peer)
        table = IKE_GROUP if kind == "ike-group" else ESP_GROUP
        return Options({k: s for k, s in flat(node).items() if not k.startswith("proposal")}, table, self._report, peer)

    def _own_group(self, group: Options, name: Setting | None) -> None:
        if name is not None and not self._report.has(name):
            self._report.tell(Fate.MAPPED, name, why="the settings of the group are this peer's")

    def _proposals(self, group: Node | None, table: object, peer: str) -> tuple[Setting | None, list[str]]:
        """The proposals of a group in strongSwan's words, and the setting that stands for them."""
        lines: list[str] = []
        first: Setting | None = None
        proposals = group.get("proposal") if group else None
        known = IKE_GROUP if table is IKE_GROUP else ESP_GROUP
        order = sorted(proposals.inner.values(), key=lambda n: (len(n.name), n.name)) if proposals else []
        for node in order:
            words = Options({f"proposal {k}": s for k, s in flat(node).items()}, known, self._report, peer)
            cipher, digest = words.get("proposal encryption"), words.get("proposal hash")
            parts = [cipher.value if cipher else "aes128", digest.value if digest else "sha1"]
            extra = [words.get("proposal prf"), words.get("proposal dh-group")] if table is IKE_GROUP else []
            for setting in filter(None, extra):
                text = setting.value.strip()
                parts.append(algorithms.group_word(int(text)) if text.isascii() and text.isdecimal() else text)
            if table is IKE_GROUP and extra[1] is None:
                parts.append("modp1024")
            for setting in filter(None, (cipher, digest, *extra)):
                first = first or setting
                if setting is not first:
                    self._report.tell(Fate.MAPPED, setting, why="part of the proposal", connection=peer)
            words.rest()
            lines.append("-".join(parts))
        return first, lines

    # ---- children ---------------------------------------------------------------------------------------------

    def _children(
        self,
        peer: Node,
        options: Options,
        groups: dict[str, Setting | None],
        connection: Connection,
        actions: tuple[Told[Start], Told[Start]],
        ike: list[str],
    ) -> None:
        """The tunnels; without any, one for the VTI."""
        kind = options.told("connection-type", "initiate", str.strip)
        start = Told(_START.get(kind.value, "start"), kind.setting)
        bind, own = options.get("vti bind"), options.get("vti esp-group")
        default = groups["default-esp"]
        tunnels = peer.get("tunnel")
        window = options.told("replay-window", 32, times.number)
        made: list[Child] = []
        for tunnel in tunnels.inner.values() if tunnels else ():
            parts = Options({f"tunnel {k}": s for k, s in flat(tunnel).items()}, PEER, self._report, connection.name)
            off, group = parts.get("tunnel disable"), parts.get("tunnel esp-group") or default
            child = self._child(f"tunnel-{tunnel.name}", group, connection.name, ike)
            child.local_ts, child.remote_ts = (self._side(tunnel, parts, side) for side in ("local", "remote"))
            self._around(tunnel, parts, connection)
            parts.rest()
            if off is not None:
                for leaf in tunnel.leaves():
                    self._report.tell(
                        Fate.DROPPED, leaf.setting, why="the tunnel is disabled there", connection=connection.name
                    )
                continue
            made.append(child)
        if bind is not None and not tunnels:
            made.append(self._child("vti", own or default, connection.name, ike))
            sides = [self._vti_side(options, peer, side) for side in ("local", "remote")]
            made[-1].local_ts, made[-1].remote_ts = sides
        elif own is not None:
            self._report.tell(Fate.DROPPED, own, why="the tunnels have groups of their own", connection=connection.name)
        for child in made:
            child.start, (child.on_close, child.on_dead) = start, actions
            child.replay_window = window
            child.interface = Told(bind.value, bind) if bind is not None else None
        if default is not None and not self._report.has(default):
            self._report.tell(Fate.MAPPED, default, why="the tunnels have groups of their own")
        connection.children += made
        self._device(bind, connection.name)

    def _child(self, name: str, group: Setting | None, peer: str, ike: list[str]) -> Child:
        options = self._group("esp-group", group, peer)
        self._own_group(options, group)
        node = self._group_node("esp-group", group)
        first, lines = self._proposals(node, ESP_GROUP, peer)
        pfs = options.get("pfs")
        word = self._pfs(pfs.value.strip() if pfs else "enable", ike)
        if pfs is not None:
            self._report.tell(Fate.MAPPED, pfs, why="it is in the proposals of the child", connection=peer)
        offer = algorithms.charon(",".join(f"{line}-{word}" if word else line for line in lines), algorithms.ESP)
        mode = options.one_of("mode", "tunnel", {"tunnel": "tunnel", "transport": "transport"})
        hard = options.told("lifetime", 3600, times.seconds)
        off = options.get("disable-rekey")
        rekey = Told(0, off) if off is not None else Told(hard.value * 10 // 11, hard.setting)
        child = Child(
            name=name,
            mode=mode,
            esp=Told(offer if lines else Offer(lost=("the group has no proposals",)), first or group),
            time=Lifetime(rekey=rekey, hard=hard),
            bytes=self._limit(options, "bytes"),
            packets=self._limit(options, "packets"),
        )
        options.rest()
        return child

    @staticmethod
    def _pfs(word: str, ike: list[str]) -> str:
        """``enable`` is the group of the first IKE proposal."""
        if word == "disable":
            return ""
        if word == "enable":
            return ike[0].rpartition("-")[2] if ike else ""
        digits = word.removeprefix("dh-group")
        return algorithms.group_word(int(digits)) if digits.isascii() and digits.isdecimal() else word

    @staticmethod
    def _limit(options: Options, unit: str) -> Lifetime:
        hard = options.told(f"life-{unit}", 0, times.amount)
        return lifetime(Told(hard.value * 10 // 11, hard.setting), Told(-1), 0, hard)

    def _side(self, tunnel: Node, parts: Options, side: str) -> Told[tuple[str, ...]]:
        """Networks with protocol and port; ``any`` is everything."""
        self._others_of(values(tunnel.get(side, "prefix")))
        protocol, port = parts.get("tunnel protocol"), parts.get(f"tunnel {side} port")
        suffix = f"[{protocol.value if protocol else ''}/{port.value if port else ''}]" if protocol or port else ""
        for setting in filter(None, (protocol, port)):
            self._report.tell(Fate.MAPPED, setting, why="it is in the selectors")

        def read(_: str) -> tuple[str, ...]:
            found = [s.value for s in values(tunnel.get(side, "prefix"))]
            networks = [n for word in found for n in (_EVERYTHING if word == "any" else (word,))]
            return tuple(selector(network + suffix) for network in networks)

        default: tuple[str, ...] = ("dynamic" + suffix,)
        return parts.told(f"tunnel {side} prefix", default, read)

    def _others_of(self, several: Sequence[Setting]) -> None:
        """All values of an option but the last, which stands for them."""
        for setting in several[:-1]:
            self._report.tell(Fate.MAPPED, setting, why="with the other values of this option")

    def _vti_side(self, options: Options, peer: Node, side: str) -> Told[tuple[str, ...]]:
        self._others_of(values(peer.get("vti", "traffic-selector", side, "prefix")))

        def read(_: str) -> tuple[str, ...]:
            return tuple(selector(s.value) for s in values(peer.get("vti", "traffic-selector", side, "prefix")))

        return options.told(f"vti traffic-selector {side} prefix", _EVERYTHING, read)

    def _around(self, tunnel: Node, parts: Options, connection: Connection) -> None:
        setting = parts.get("tunnel passthrough")
        if setting is None:
            return
        networks = tuple(s.value for s in values(tunnel.get("passthrough")))
        self._others_of(values(tunnel.get("passthrough")))
        told = Told(networks, setting)
        connection.children.append(
            Child(
                name=f"passthrough-{tunnel.name}",
                mode=Told("pass", setting),
                local_ts=told,
                remote_ts=told,
                start=Told("trap"),
            )
        )

    def _device(self, bind: Setting | None, peer: str) -> None:
        """The VTI's own addresses stand elsewhere; routes into it as well."""
        device = self._root.get("interfaces", "vti", bind.value) if bind is not None else None
        for leaf in device.leaves() if device is not None else ():
            if leaf is device:
                continue
            why = "the daemon makes the device without addresses, and gives it its MTU"
            todo = f"when it is there: ip address add ADDRESS dev {bind.value if bind else ''}; routes likewise"
            self._report.tell(Fate.DROPPED, leaf.setting, why=why, todo=todo, connection=peer)

    def _others(self) -> None:
        """What of ``vpn ipsec`` is neither a peer nor a group nor a secret."""
        for name, node in self._ipsec.inner.items():
            if name in ("site-to-site", "ike-group", "esp-group", "authentication"):
                continue
            for leaf in node.leaves():
                words = " ".join(leaf.path[len(self._ipsec.path) : -1]) or name
                known = OTHER.get(words) or OTHER.get(name)
                if name == "disable-uniqreqids":
                    self._report.tell(Fate.MAPPED, leaf.setting, to="unique", why="each peer may come several times")
                else:
                    tell_known(self._report, leaf.setting, known, "")
