"""NFQUEUE: ICMP errors that name a peer, handed to whoever judges them, in a thread of its own.

The thread waits for nothing but the queue, so that a busy event loop delays no verdict. Whatever goes wrong ends in
a drop: a verdict that raises, a packet too long to be copied, a queue that is full or that nobody listens to (the rule
has no ``--queue-bypass``, see :mod:`xfrmctl.kernel.firewall.guard`). The kernel then learns nothing, and nothing
else waits for this queue.

The library is NetfilterQueue. It comes as source only and wants libnetfilter-queue; so it is looked for when the guard
starts, and a gateway without it drops all errors that name a peer, which is safe, and says so.
"""

import os
import select
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

from xfrmctl.kernel.netlink.constants import NETLINK_XFRM
from xfrmctl.kernel.netlink.move import get_sa
from xfrmctl.kernel.netlink.sa import sent_from
from xfrmctl.kernel.netlink.socket import NetlinkSocket
from xfrmctl.kernel.ownership import ICMP_QUEUE
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.sa import SaId
from xfrmctl.model.snapshot import QueueInfo

Verdict = Callable[[bytes], bool]
"""Whether the kernel may see an IP packet."""

MAX_WAITING = 256
"""Errors that wait for a verdict; more are dropped."""

QUEUES = Path("/proc/thread-self/net/netfilter/nfnetlink_queue")

_INSTALL = "install xfrmctl[guard] and libnetfilter-queue-dev, and start again"


class IcmpQueue:
    """Listens to the guard's queue from ``start`` to ``stop``."""

    def __init__(self, verdict: Verdict, fault: Callable[[Exception], None]) -> None:
        """``verdict`` is called in the thread; ``fault`` gets what it raises."""
        self._verdict = verdict
        self._fault = fault
        self._queue: Any = None
        self._wake = -1
        self._thread: Thread | None = None

    def start(self) -> None:
        """Bind the queue of this network namespace. Raises KernelRefusal."""
        try:
            from netfilterqueue import COPY_PACKET, NetfilterQueue  # noqa: PLC0415  # not everybody has it
        except ImportError as error:
            raise KernelRefusal("judge ICMP errors", 0, f"{error}: {_INSTALL}") from None
        queue = NetfilterQueue()
        try:
            queue.bind(ICMP_QUEUE, self._packet, MAX_WAITING, COPY_PACKET)
        except OSError as error:
            words = f"queue {ICMP_QUEUE} cannot be had ({error}): another program listens to it, or CAP_NET_ADMIN lacks"
            raise KernelRefusal("judge ICMP errors", error.errno or 0, words) from error
        self._queue = queue
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = Thread(target=self._listen, name="icmp-guard", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let go of the queue; from now on the rules drop."""
        if self._thread is None:
            return
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._thread = None
        self._queue.unbind()
        self._queue = None
        os.close(self._wake)

    def _listen(self) -> None:
        poller = select.poll()
        poller.register(self._queue.get_fd(), select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while self._wake not in dict(poller.poll()):
            try:
                self._queue.run(block=False)
            except Exception as error:  # the thread must live: without it all errors are dropped
                self._fault(error)

    def _packet(self, packet: Any) -> None:
        try:
            passes = self._verdict(packet.get_payload())
        except Exception as error:  # nobody above us could do more than drop it
            packet.drop()
            self._fault(error)
            return
        if passes:
            packet.accept()
        else:
            packet.drop()


def queue_state(file: Path = QUEUES) -> QueueInfo | None:
    """What the kernel counts of the guard's queue; None where nobody listens to it.

    The columns are those of ``seq_show`` in net/netfilter/nfnetlink_queue.c: number, port, waiting, mode, range,
    dropped by a full queue, dropped for want of room in the socket, seen.
    """
    try:
        rows = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return None  # a kernel without the module
    for row in rows:
        if len(row) >= 8 and row[0] == str(ICMP_QUEUE):
            return QueueInfo(waiting=int(row[2]), dropped_full=int(row[5]), dropped_copy=int(row[6]), seen=int(row[7]))
    return None


class SentNumbers:
    """How far outbound SAs have counted; has a netlink socket of its own, for one thread."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket(NETLINK_XFRM)

    def __call__(self, sa: SaId) -> int | None:
        """The last sequence number that an SA has sent (64 bits with ESN), None for one that is not there."""
        try:
            return sent_from(self._socket.get(get_sa(sa)))
        except OSError:
            return None

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
