"""Faults as data: what makes each of them for real, and the one finding that ``xfrmctl diagnose`` must have then."""

from tests.lab.faults.fault import Fault
from tests.lab.faults.host import GRE_DEVICE, HOST, INTERFACE, NARROWED, POLICY, RECURSIVE
from tests.lab.faults.negotiation import NEGOTIATION, REACH

BY_HAND = {
    "daemon-not-running": "the daemon is stopped",
    "certificate-expired": "the peer's certificate ended ten days ago",
    "certificate-not-yet-valid": "the peer's certificate begins in ten days",
    "certificate-untrusted": "the peer's certificate is of a CA that we do not know",
    "clock-wrong": "the peer's certificate begins in half an hour; both clocks say 1970",
    "own-certificate-expired": "the same, seen by the peer itself",
    "own-certificate-not-yet-valid": "the same, seen by the peer itself",
    "selectors-taken": "two peers behind one NAT with the same networks",
    "kernel-refused": "a kernel without ChaCha20; without ESP over IPv6; without xfrm interfaces",
    "spi-collision": "two strongSwans behind one NAT choose one SPI",
    "duplicate-sas": "a strongSwan makes two CHILD SAs of two children that come to the same networks",
    "sequence-numbers-end": "an SA is set to its last million numbers",
}
"""Findings whose faults are made by tests of their own."""


def every() -> list[Fault]:
    """All of them."""
    return [*NEGOTIATION, *REACH, *HOST, *POLICY, *INTERFACE, *NARROWED, *RECURSIVE, *GRE_DEVICE]
