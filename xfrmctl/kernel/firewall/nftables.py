"""The socket to nf_tables, and whether somebody else has changed the ruleset since we last looked.

Each transaction of anybody gives the ruleset another generation number. So whoever remembers what he has read or
written need not read 20,000 members again to know that all of it still stands.
"""

from collections.abc import Sequence
from errno import EINVAL, ENOBUFS, ENOENT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT

from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.kernel.netlink import netfilter as nf
from xfrmctl.kernel.netlink import nftables as nft
from xfrmctl.kernel.netlink.constants import NETLINK_NETFILTER
from xfrmctl.kernel.netlink.nftables import Found
from xfrmctl.kernel.netlink.socket import NetlinkError, NetlinkSocket, Request

_LOAD = "load the module nf_tables (modprobe nf_tables)"
_CURES = {
    EPERM: "run as root or with CAP_NET_ADMIN",
    EOPNOTSUPP: _LOAD,
    EPROTONOSUPPORT: _LOAD,
    EINVAL: _LOAD,
    ENOENT: "another program removes our table or parts of it, or a module of nf_tables is missing: the next round"
    " puts them back",
    ENOBUFS: "the kernel has no buffer space left: free memory, or raise net.core.wmem_max",
}


class NfTables:
    """Reads and writes tables of the family inet. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._socket: NetlinkSocket | None = None
        self._generation: int | None = None
        self._epoch = 0

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def there(self) -> bool:
        """Whether the kernel has nf_tables, and lets us use it."""
        try:
            self._current()
        except FirewallError:
            return False
        return True

    def epoch(self) -> int:
        """A number that changes when somebody else has changed the ruleset. Raises FirewallError."""
        now = self._current()
        if now != self._generation:
            self._generation = now
            self._epoch += 1
        return self._epoch

    def commit(self, what: str, requests: Sequence[Request]) -> None:
        """Carry out all or nothing. ``what`` is for people. Raises FirewallError."""
        if not requests:
            return
        self.epoch()
        before = self._generation or 0
        try:
            errors = self._open().commit(*self._framed(requests))
        except OSError as error:
            raise _refused(what, NetlinkError(error.errno or EINVAL)) from error
        if errors:
            raise _refused(what, errors[min(errors)])
        if self._current() == ((before + 1) & 0xFFFFFFFF or 1):
            self._generation = self._current()

    def found(self, table: str) -> Found:
        """What a table holds, without the members of its sets. Raises FirewallError."""
        found = Found()
        try:
            nft.take_table(found, self._open().get(nft.get(nft.GET_TABLE, table)))
        except OSError as error:
            if error.errno == ENOENT:
                return found
            raise _refused(f"read table {table}", NetlinkError(error.errno or EINVAL)) from error
        nft.take_chains(found, table, self._dump(table, nft.get(nft.GET_CHAIN)))
        nft.take_rules(found, table, self._dump(table, nft.get(nft.GET_RULE, table)))
        nft.take_sets(found, table, self._dump(table, nft.get(nft.GET_SET, table)))
        return found

    def members(self, table: str, name: str) -> dict[bytes, bytes]:
        """The members of a set: keys, and what a map has for them. Raises FirewallError."""
        return dict(nft.members_from(self._dump(table, nft.get(nft.GET_MEMBER, table, name))))

    def _dump(self, table: str, request: Request) -> list[memoryview]:
        try:
            return [payload for _, payload in self._open().dump(request)]
        except OSError as error:
            raise _refused(f"read table {table}", NetlinkError(error.errno or EINVAL)) from error

    def _current(self) -> int:
        try:
            return nft.generation_from(self._open().get(nft.get(nft.GET_GENERATION)))
        except OSError as error:
            raise _refused("read the ruleset", NetlinkError(error.errno or EINVAL)) from error

    def _open(self) -> NetlinkSocket:
        if self._socket is None:
            self._socket = NetlinkSocket(NETLINK_NETFILTER)
        return self._socket

    @staticmethod
    def _framed(requests: Sequence[Request]) -> tuple[Request, Sequence[Request], Request]:
        begin, end = nf.batch(nf.NFTABLES)
        return begin, requests, end


def _refused(what: str, error: NetlinkError) -> FirewallError:
    cure = _CURES.get(error.code)
    return FirewallError(f"nf_tables: {what}: {error}" + (f": {cure}" if cure else ""))
