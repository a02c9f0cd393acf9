"""Faults as data: what makes each of them for real, and the one finding that ``xfrmctl diagnose`` must have then."""

from tests.lab.faults.fault import Fault
from tests.lab.faults.host import HOST, INTERFACE, POLICY
from tests.lab.faults.negotiation import NEGOTIATION, REACH


def every() -> list[Fault]:
    """All of them."""
    return [*NEGOTIATION, *REACH, *HOST, *POLICY, *INTERFACE]
