"""Why a CHILD SA cannot be as it was asked for, beyond proposals and selectors; see :mod:`xfrmctl.ike.failures`."""

from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import NotifyType


def mode_refused(child: str, *, by_peer: bool) -> Failure:
    """One end insists on a tunnel, the other (we) on transport mode (RFC 7296 1.3.1)."""
    text = "answers our request for transport mode with a tunnel" if by_peer else "does not ask for transport mode"
    return Failure(
        code=FailureCode.NO_PROPOSAL_CHOSEN,
        notify="" if by_peer else NotifyType.NO_PROPOSAL_CHOSEN.name,
        text=f"the peer {text}, and child {child} insists on it",
        cause="mode: transport here, tunnel mode there (no N(USE_TRANSPORT_MODE))",
        cure="set the peer to transport mode, or write mode: tunnel here, or mode: transport-or-tunnel to take either",
        ours=("transport",),
        theirs=("tunnel",),
    )


def ah_through_nat(child: str, nat_local: bool, nat_remote: bool) -> Failure:
    """AH cannot be where a NAT changes what it protects (RFC 4302 3.3.3.1, RFC 3947 5)."""
    where = {(True, False): "on our side", (False, True): "on the peer's side", (True, True): "on both sides"}
    return Failure(
        code=FailureCode.NO_PROPOSAL_CHOSEN,
        notify=NotifyType.NO_PROPOSAL_CHOSEN.name,
        text=f"child {child} is AH, and there is a NAT {where.get((nat_local, nat_remote), 'between the gateways')}",
        cause="AH protects the addresses of the IP header: a NAT changes them, and every packet would count as forged",
        cure="write esp: instead of ah: on both ends, or take the NAT out of the path",
    )


def too_many_selectors(child: str, entries: int, most: int) -> Failure:
    """Ranges of addresses and ports that the kernel would need too many entries for."""
    return Failure(
        code=FailureCode.TS_UNACCEPTABLE,
        notify=NotifyType.TS_UNACCEPTABLE.name,
        text=f"the selectors of child {child} would take {entries} entries of the kernel's SPD, of {most} at most",
        cause="the kernel knows prefixes and aligned blocks of ports only: ranges that are none are cut into many",
        cure="write networks in the place of ranges of addresses, and single ports or all of them",
    )
