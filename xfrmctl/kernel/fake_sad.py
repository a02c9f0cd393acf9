"""The SAD of the kernel in memory, and what it refuses on demand."""

import os
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from xfrmctl.kernel.ownership import is_our_reqid
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.sa import KernelSa, SaCounters, SaId, SaKeys, SaMove


class Misuse(AssertionError):
    """The caller did what it must never do."""


class FakeSad:
    """SAs with their keys and counters. The state is public, as all of :class:`xfrmctl.kernel.fake.FakeKernel` is."""

    def __init__(self) -> None:
        self.sas: dict[SaId, KernelSa] = {}
        self.keys: dict[SaId, SaKeys] = {}
        self.counters: dict[SaId, SaCounters] = {}
        self.foreign_sas: set[SaId] = set()
        self._ever: set[SaId] = set()
        self._refusals: deque[tuple[str, int]] = deque()

    def refuse_next(self, code: int, what: str = "install") -> None:
        """Refuse the next request of this kind: ``install``, ``delete``, ``policy``, ``interface`` or ``route``."""
        self._refusals.append((what, code))

    def count(self, sa: SaId, *, packets: int, size: int, now: int = 0) -> None:
        """Let traffic flow through an SA; ``size`` in bytes."""
        old = self.counters[sa]
        self.counters[sa] = replace(
            old, bytes=old.bytes + size, packets=old.packets + packets, used_at=now or old.used_at
        )

    def install(self, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        """Add SAs, all or none."""
        for sa, _ in sas:
            if not is_our_reqid(sa.reqid):
                raise Misuse(f"reqid {sa.reqid:#x} without our mark")
            if sa.id in self.sas or sum(other.id == sa.id for other, _ in sas) > 1:
                raise Misuse(f"{sa.id} installed twice")
        self._refuse("install", "install SA")
        for sa, keys in sas:
            self.sas[sa.id], self.keys[sa.id] = sa, keys
            self.counters[sa.id] = SaCounters(id=sa.id, reqid=sa.reqid)
            self._ever.add(sa.id)

    def delete(self, ids: Sequence[SaId]) -> None:
        """Delete SAs; one that is gone already is no failure, one that never was ours is."""
        for sa in ids:
            if sa in self.foreign_sas or sa not in self._ever:
                raise Misuse(f"{sa} deleted, but it never was ours")
        self._refuse("delete", "delete SA")
        for sa in ids:
            self._forget(sa)

    def move(self, moves: Sequence[SaMove]) -> None:
        """Change addresses and encapsulation ports of SAs; an SA that is gone is no failure."""
        for move in moves:
            if move.id in self.foreign_sas or move.id not in self._ever:
                raise Misuse(f"{move.id} moved, but it never was ours")
            if move.id not in self.sas:
                continue
            if move.new_id != move.id and move.new_id in self.sas:
                raise Misuse(f"{move.id} moved to where {move.new_id} is")
            sa, keys, counters = self.sas[move.id], self.keys[move.id], self.counters[move.id]
            self._forget(move.id)
            self._ever.add(move.new_id)
            self.sas[move.new_id] = replace(sa, source=move.source, destination=move.destination, encap=move.encap)
            self.keys[move.new_id], self.counters[move.new_id] = keys, replace(counters, id=move.new_id)

    def dump(self) -> dict[SaId, SaCounters]:
        """Every SA of ours."""
        return dict(self.counters)

    def gone(self, ids: Sequence[SaId]) -> list[SaId]:
        """Those that do not stand."""
        return [sa for sa in ids if sa not in self.sas]

    def _forget(self, sa: SaId) -> None:
        self.sas.pop(sa, None)
        self.keys.pop(sa, None)
        self.counters.pop(sa, None)

    def _refused(self, what: str) -> str:
        if self._refusals and self._refusals[0][0] == what:
            _, code = self._refusals.popleft()
            return f"update {what}: {os.strerror(code)}"
        return ""

    def _refuse(self, what: str, operation: str) -> None:
        if self._refusals and self._refusals[0][0] == what:
            _, code = self._refusals.popleft()
            raise KernelRefusal(operation, code, os.strerror(code))
