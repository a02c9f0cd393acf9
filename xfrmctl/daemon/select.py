"""The filters of ``show``, applied to what the engine has before anything is rendered: what is cheap decides first."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from ipaddress import ip_network

from xfrmctl.control.schema import unknown_name
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.model.address import IPAddress
from xfrmctl.model.identity import Identity
from xfrmctl.model.selection import CONNECTION_STATES, NOT_UP, Selection, is_pattern
from xfrmctl.model.selector import TrafficSelector


class Chooser:
    """One question's filters."""

    def __init__(self, wanted: Selection) -> None:
        self._wanted = wanted
        states = set(wanted.states)
        if NOT_UP in states:
            states |= {*CONNECTION_STATES} - {"up"}
        self._connection_states = states & {*CONNECTION_STATES}
        self._ike_states = states - {*CONNECTION_STATES, NOT_UP}
        self._of_children = bool(wanted.children or wanted.carries)

    def connections(self, configured: Mapping[str, ConnectionConfig]) -> list[ConnectionConfig]:
        """Those whose name is wanted, in the order of the file. RequestError for a name that is not configured."""
        names = self._wanted.connections
        if not names:
            return list(configured.values())
        for name in names:
            if not is_pattern(name) and name not in configured:
                raise unknown_name("connection", name, configured)
        if not any(map(is_pattern, names)):
            wanted = dict.fromkeys(names)
            return [configured[name] for name in wanted]
        return [c for name, c in configured.items() if any(fnmatchcase(name, pattern) for pattern in names)]

    def sas(self, config: ConnectionConfig, sas: list[IkeSa]) -> list[IkeSa] | None:
        """The IKE SAs to be shown of a connection; None where it is not wanted at all."""
        wanted = self._wanted
        if wanted.peers or wanted.addresses:
            fits = self._end(config.remote_id, (config.local, config.remote))
            found = sas if fits else [s for s in sas if self._end(s.remote_id, (s.local.address, s.remote.address))]
            if not found and not fits:
                return None
            sas = found
        if wanted.spis:
            sas = [s for s in sas if self._ike_spi(s) or any(map(self.child, s.children))]
            if not sas:
                return None
        if self._of_children and not any(map(self.configured, config.children)):
            sas = [s for s in sas if any(map(self.child, s.children))]  # narrower than what is configured, or older
            if not sas:
                return None
        return sas

    def has_state(self, connection: str, sas: Iterable[IkeSa]) -> bool:
        """Whether a connection in this state, with these IKE SAs, is wanted."""
        if not self._wanted.states:
            return True
        return connection in self._connection_states or any(s.state.value in self._ike_states for s in sas)

    def in_state(self, connection: str, sas: list[IkeSa]) -> list[IkeSa]:
        """Of a wanted connection those IKE SAs that are wanted."""
        if not self._ike_states or connection in self._connection_states:
            return sas
        return [s for s in sas if s.state.value in self._ike_states]

    def configured(self, child: ChildConfig) -> bool:
        """Whether a configured child is wanted."""
        return self._named(child.name) and self._carried((*child.local_ts, *child.remote_ts))

    def child(self, child: ChildSa) -> bool:
        """Whether a CHILD SA is wanted, given that its IKE SA is."""
        if not self._named(child.config.name) or not self._carried((*child.local_ts, *child.remote_ts)):
            return False
        return not self._wanted.spis or not {child.inbound.spi, child.outbound.spi}.isdisjoint(self._wanted.spis)

    def children(self, sa: IkeSa) -> list[ChildSa]:
        """The CHILD SAs of a wanted IKE SA; all of them where its own SPI was asked for."""
        if self._wanted.spis and self._ike_spi(sa):
            return [c for c in sa.children if c.installed]
        return [c for c in sa.children if c.installed and self.child(c)]

    def _named(self, name: str) -> bool:
        patterns = self._wanted.children
        return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)

    def _carried(self, selectors: Iterable[TrafficSelector]) -> bool:
        asked = self._wanted.carries
        return not asked or any(_holds(selector, address) for selector in selectors for address in asked)

    def _end(self, identity: Identity | None, ends: Iterable[IPAddress | None]) -> bool:
        wanted = self._wanted
        if wanted.addresses:
            found = [ip_network(end) for end in ends if end is not None]
            if not any(f.version == net.version and f.subnet_of(net) for f in found for net in wanted.addresses):  # type: ignore[arg-type]
                return False
        return not wanted.peers or (identity is not None and self._is_peer(str(identity)))

    def _is_peer(self, name: str) -> bool:
        names = [name.casefold(), name.partition(":")[2].casefold()]
        return any(fnmatchcase(n, pattern.casefold()) for n in names for pattern in self._wanted.peers)

    def _ike_spi(self, sa: IkeSa) -> bool:
        found = {int.from_bytes(sa.spi_i, "big"), int.from_bytes(sa.spi_r, "big")}
        return not found.isdisjoint(self._wanted.spis)


def _holds(selector: TrafficSelector, address: IPAddress) -> bool:
    if selector.version != address.version:
        return False
    return int(selector.start) <= int(address) <= int(selector.end)
