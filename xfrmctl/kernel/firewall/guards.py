"""Keeps the rules of the ICMP guard as a plan wants them: in iptables, or in nf_tables."""

from collections.abc import Mapping
from typing import Protocol

from xfrmctl.kernel.desired import IcmpGuard
from xfrmctl.kernel.firewall import guard, nft_guard
from xfrmctl.kernel.firewall.iptables import FAMILIES, VARIANTS, Tables, mangle_text
from xfrmctl.kernel.firewall.nftables import NfTables
from xfrmctl.kernel.firewall.programs import FirewallError
from xfrmctl.kernel.netlink import nftables as messages
from xfrmctl.kernel.netlink.socket import Request

NOBODY = IcmpGuard()


class Guards(Protocol):
    """One way to guard."""

    def read(self, mangle: Mapping[int, str]) -> None:
        """Look at what stands. ``mangle``: the mangle tables of iptables, by family. Raises FirewallError."""

    def standing(self) -> IcmpGuard | None:
        """What was set last if all of it stood when it was read; None for anything else."""

    def set(self, wanted: IcmpGuard) -> list[str]:
        """Guard these; gives problems."""

    def remove(self) -> tuple[int, list[str]]:
        """Remove every trace; gives the number of rules, and problems."""


class ChainGuard:
    """The guard in iptables: chains with a rule for some dozens of peers. It knows no SPIs."""

    def __init__(self) -> None:
        self._wanted = NOBODY
        self._have: dict[int, guard.Standing] = {}
        self._done = False

    def read(self, mangle: Mapping[int, str]) -> None:
        """Look at what stands."""
        self._have = {family: guard.parse_save(text) for family, text in mangle.items()}
        self._done = self.standing() is not None

    def standing(self) -> IcmpGuard | None:
        """What was set last if all of it stood when it was read."""
        whole = all(guard.stands(self._wanted, family, have) for family, have in self._have.items())
        return self._wanted if whole else None

    def set(self, wanted: IcmpGuard) -> list[str]:
        """Guard these; where only SPIs are others there is nothing to do."""
        before, self._wanted = self._wanted, wanted
        if self._done and (before.judged, before.ignored) == (wanted.judged, wanted.ignored):
            return []
        problems: list[str] = []
        for family in FAMILIES:
            try:
                have = guard.parse_save(mangle_text(family))
                Tables(family).restore(guard.restore_text(wanted, family, have))
            except FirewallError as error:
                problems.append(f"ICMP errors about our peers (IPv{family}) are not judged: {error}")
        self._done = not problems
        return problems

    def remove(self) -> tuple[int, list[str]]:
        """Remove every trace, in both variants of iptables."""
        rules, problems = 0, []
        for family in FAMILIES:
            for variant in VARIANTS:
                tables = Tables(family, variant)
                if not tables.in_use():
                    continue
                try:
                    have = guard.parse_save(tables.text())
                    tables.restore(guard.remove_text(have))
                    rules += have.rules
                except FirewallError as error:
                    problems.append(str(error))
        return rules, problems


class TableGuard:
    """The guard in nf_tables: a few rules, and sets of peers and SPIs that change one by one."""

    def __init__(self, tables: NfTables) -> None:
        self._nf = tables
        self._epoch: int | None = None
        self._have: IcmpGuard | None = None
        self._wanted = NOBODY

    def read(self, mangle: Mapping[int, str]) -> None:
        """Look at what stands, if anybody else has changed the ruleset since."""
        epoch = self._nf.epoch()
        if epoch == self._epoch:
            return
        self._have = self._wanted if self._stands(self._wanted) else None
        self._epoch = epoch

    def _stands(self, wanted: IcmpGuard) -> bool:
        found = self._nf.found(nft_guard.TABLE)
        if wanted == NOBODY:
            return not found.present
        if not nft_guard.framed(found):
            return False
        return all(
            self._nf.members(nft_guard.TABLE, name).keys() == keys for name, keys in nft_guard.members(wanted).items()
        )

    def standing(self) -> IcmpGuard | None:
        """What was set last if all of it stood when it was read."""
        return self._have

    def set(self, wanted: IcmpGuard) -> list[str]:
        """Guard these, at the cost of what changes."""
        self._wanted = wanted
        try:
            self.read({})
            have, self._have = self._have, None
            epoch, self._epoch = self._epoch, None
            requests = self._anew(wanted) if have is None or NOBODY in (have, wanted) else self._change(have, wanted)
            self._nf.commit("guard path MTUs against ICMP", requests)
            self._have, self._epoch = wanted, epoch
        except FirewallError as error:
            return [f"ICMP errors about our peers are not judged: {error}"]
        return []

    def _anew(self, wanted: IcmpGuard) -> list[Request]:
        table = nft_guard.TABLE
        requests = [messages.delete_table(table)] if self._nf.found(table).present else []
        if wanted == NOBODY:
            return requests
        requests.append(messages.new_table(table))
        requests += (messages.new_set(table, one, 1 + number) for number, one in enumerate(nft_guard.sets()))
        for name, keys in nft_guard.members(wanted).items():
            requests += messages.new_members(table, name, ((key, b"") for key in keys))
        for chain in nft_guard.chains():
            requests += messages.new_chain(table, chain)
        return requests

    @staticmethod
    def _change(have: IcmpGuard, wanted: IcmpGuard) -> list[Request]:
        requests: list[Request] = []
        for name, (gone, come) in nft_guard.changes(have, wanted).items():
            requests += messages.delete_members(nft_guard.TABLE, name, gone)
            requests += messages.new_members(nft_guard.TABLE, name, ((key, b"") for key in come))
        return requests

    def remove(self) -> tuple[int, list[str]]:
        """Remove our table."""
        if not self._nf.there():
            return 0, []
        try:
            found = self._nf.found(nft_guard.TABLE)
            if found.present:
                self._nf.commit("remove the guard", [messages.delete_table(nft_guard.TABLE)])
        except FirewallError as error:
            return 0, [str(error)]
        return sum(map(len, found.rules.values())), []
