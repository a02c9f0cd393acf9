"""The SAD: SAs go in all or none, come out one by one, and are counted by dump.

A mark is a part of an SA's name in the kernel, so marks are remembered: without its mark an SA cannot be deleted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from errno import EINTR, EINVAL, EIO, ENODEV, ENOSPC, EOPNOTSUPP, ESRCH

from xfrmctl.kernel.netlink import move
from xfrmctl.kernel.netlink import sa as messages
from xfrmctl.kernel.netlink.constants import NETLINK_XFRM, XFRM_MSG_DELSA, XFRM_MSG_NEWSA
from xfrmctl.kernel.netlink.socket import NetlinkError, NetlinkSocket, Request
from xfrmctl.kernel.offload import Offload as Offloading
from xfrmctl.kernel.offload import offloaded
from xfrmctl.kernel.refusal import refusal, sa_words
from xfrmctl.model.address import IPAddress
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.plane import Mark, Offload
from xfrmctl.model.sa import Direction, KernelSa, SaCounters, SaId, SaKeys, SaMove

OFFLOAD_REFUSED = frozenset({EINVAL, EOPNOTSUPP, ENODEV, ENOSPC, EIO})
"""What drivers say to an SA that they cannot take; whatever else is wrong with it shows again without offload."""


class Sad:
    """The SAs of ours. One batch is one system call to send and one to read the answer."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_XFRM)
        self._reader = NetlinkSocket(NETLINK_XFRM)
        self._marks: dict[SaId, Mark] = {}
        self._looked = False
        self._wishes: dict[SaId, str] = {}
        self._offload = Offloading()

    @property
    def port(self) -> int:
        """The netlink port id through which SAs are changed."""
        return self._socket.port

    def close(self) -> None:
        """Close the sockets."""
        self._socket.close()
        self._reader.close()
        self._offload.close()

    def install(self, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        """Add SAs, all or none. Raises KernelRefusal; those already added are then gone again."""
        errors = self._attempt(sas, offload=True)
        asked = [sa for sa, _ in sas if sa.options.offload is not Offload.NO]
        if errors and asked and all(error.code in OFFLOAD_REFUSED for error in errors.values()):
            self.delete([sa.id for position, (sa, _) in enumerate(sas) if position not in errors])
            reason = str(min(errors.items())[1])
            errors = self._attempt(sas, offload=False)
            reasons = {sa.id: reason for sa in asked}
        else:
            reasons = {sa.id: self._silent_reason(sa) for sa in asked} if not errors else {}
        if not errors:
            self._wishes |= reasons
            return
        added = [sa.id for position, (sa, _) in enumerate(sas) if position not in errors]
        if added:
            self.delete(added)
        position, error = min(errors.items())
        sa = sas[position][0]
        raise refusal("install SA", str(sa.id), error, sa_words(messages.algorithm_name(sa)))

    def _attempt(self, sas: Sequence[tuple[KernelSa, SaKeys]], *, offload: bool) -> dict[int, NetlinkError]:
        self._marks.update((sa.id, mark) for sa, _ in sas if (mark := messages.mark_of(sa)) is not None)
        return self._transact("install SA", [messages.new_sa(sa, keys, offload=offload) for sa, keys in sas])

    def _silent_reason(self, sa: KernelSa) -> str:
        """Why the kernel encrypts itself what it did not refuse to offload; "" where it does not."""
        try:
            shown = self._socket.get(move.get_sa(sa.id, messages.mark_of(sa)))
        except OSError as error:
            return str(NetlinkError(error.errno or EINTR))
        return "" if offloaded(shown) else self._offload.why_not(_peer(sa))

    def delete(self, ids: Sequence[SaId]) -> None:
        """Delete SAs; one that is gone already is no failure. Raises KernelRefusal for anything else."""
        for sa in ids:
            self._wishes.pop(sa, None)
        errors = self._transact("delete SA", [messages.delete_sa(sa, self._marks.pop(sa, None)) for sa in ids])
        for position, error in errors.items():
            if error.code != ESRCH:
                raise refusal("delete SA", str(ids[position]), error)

    def move(self, moves: Sequence[SaMove]) -> None:
        """Change addresses and encapsulation ports of SAs, with all that they have counted and seen.

        An SA that is gone is no failure. Raises KernelRefusal for the first that could not be moved, after the others.
        """
        refused: KernelRefusal | None = None
        for wanted in moves:
            try:
                found = self._socket.get(move.get_sa(wanted.id, self._marks.get(wanted.id)))
            except OSError as error:
                if error.errno != ESRCH:
                    refused = refused or refusal("read SA", str(wanted.id), NetlinkError(error.errno or EINTR))
                continue
            requests = move.requests(found, wanted)
            if wanted.id in self._marks:
                self._marks[wanted.new_id] = self._marks.pop(wanted.id)
            if wanted.id in self._wishes:
                self._wishes[wanted.new_id] = self._wishes.pop(wanted.id)
            for position, failure in self._transact("move SA", requests).items():
                if requests[position].type != XFRM_MSG_DELSA or failure.code != ESRCH:
                    refused = refused or refusal("move SA", str(wanted.id), failure)
        if refused is not None:
            raise refused

    def walk(self) -> Iterator[dict[SaId, SaCounters]]:
        """Every SA of ours with what the kernel has counted on it, some at a time, for whoever must not hold up others.

        Has a socket of its own: what else is asked meanwhile does not disturb it.
        """
        try:
            with NetlinkSocket(NETLINK_XFRM) as asking:
                for found in asking.walk(messages.dump_sas()):
                    yield self._counters(found)
        except OSError as error:
            raise refusal("dump SAs", "SAD", NetlinkError(error.errno or EINTR)) from error

    def counted(self, ids: Sequence[SaId]) -> list[SaCounters]:
        """What the kernel has counted on these SAs by now; those that are gone are left out."""
        found: list[SaCounters] = []
        for sa in ids:
            try:
                answer = self._socket.get(move.get_sa(sa, self._marks.get(sa)))
            except OSError:
                continue  # it has gone by itself
            found += self._counters([(XFRM_MSG_NEWSA, answer)]).values()
        return found

    def gone(self, ids: Sequence[SaId]) -> list[SaId]:
        """Those of these SAs that the kernel does not have. Raises KernelRefusal."""
        found: list[SaId] = []
        for sa in ids:
            try:
                self._socket.get(move.get_sa(sa, self._marks.get(sa)))
            except OSError as error:
                if error.errno != ESRCH:
                    raise refusal("read SA", str(sa), NetlinkError(error.errno or EINTR)) from error
                found.append(sa)
        return found

    def dump(self) -> dict[SaId, SaCounters]:
        """Every SA of ours with what the kernel has counted on it."""
        try:
            found = self._reader.dump(messages.dump_sas())
        except OSError as error:
            raise refusal("dump SAs", "SAD", NetlinkError(error.errno or EINTR)) from error
        if self._marks or not self._looked:
            self._marks, self._looked = messages.marks_from(found), True
        return self._counters(found)

    def _counters(self, found: Sequence[tuple[int, memoryview]]) -> dict[SaId, SaCounters]:
        counters = messages.counters_from(found)
        for sa_id, shown in self._offloaded(found):
            if sa_id in counters:
                counters[sa_id] = replace(counters[sa_id], offload=shown)
        return counters

    def _offloaded(self, found: Sequence[tuple[int, memoryview]]) -> Iterator[tuple[SaId, str]]:
        """What became of each wish for hardware, as the kernel has it now."""
        if not self._wishes:
            return
        for sa_id, shown in messages.named(found):
            if sa_id in self._wishes:
                reason = self._wishes[sa_id] or "the device has let go of it"
                yield sa_id, offloaded(shown) or f"no: {reason}"

    def _transact(self, operation: str, requests: Sequence[Request]) -> dict[int, NetlinkError]:
        try:
            return self._socket.transact(requests)
        except OSError as error:
            raise refusal(operation, "netlink", NetlinkError(error.errno or EINTR)) from error


def _peer(sa: KernelSa) -> IPAddress:
    return sa.source if sa.direction is Direction.IN else sa.destination
