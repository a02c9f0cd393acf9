"""What the data plane does with the packets of an SA besides encrypting them: DSCP, ECN, marks, offload."""

from dataclasses import dataclass
from enum import Enum

ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Mark:
    """A packet mark of Linux (``struct xfrm_mark``): packets whose mark, under ``mask``, is ``value``."""

    value: int
    mask: int = ALL_BITS

    def excludes(self, other: "Mark") -> bool:
        """Whether no packet can have both."""
        return bool((self.value ^ other.value) & self.mask & other.mask)

    def __str__(self) -> str:
        return f"{self.value:#x}" if self.mask == ALL_BITS else f"{self.value:#x}/{self.mask:#x}"


class Offload(Enum):
    """Who encrypts. CRYPTO: the network device, where it can. AUTO: the same, and no word where it cannot."""

    NO = "no"
    AUTO = "auto"
    CRYPTO = "crypto"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneOptions:
    """One child's wishes.

    ``dscp_out``: the outer header takes the inner packet's DSCP, else it has 0. ``dscp_in``: the inner packet takes the
    outer header's, else it keeps its own (RFC 4301 5.1.2). ``ecn``: congestion marks go from the one to the other in
    both directions (RFC 6040), else not.

    ``mark_out``: only packets with this mark are the child's; its outbound SA has it too. ``mark_in``: only decrypted
    packets with this mark pass the inbound policies. ``set_mark_out`` marks what the outbound SA has encrypted,
    ``set_mark_in`` what the inbound SA has decrypted.
    """

    dscp_out: bool = True
    dscp_in: bool = False
    ecn: bool = True
    mark_in: Mark | None = None
    mark_out: Mark | None = None
    set_mark_in: Mark | None = None
    set_mark_out: Mark | None = None
    offload: Offload = Offload.NO


ORDINARY = PlaneOptions()
"""What one gets without asking."""
