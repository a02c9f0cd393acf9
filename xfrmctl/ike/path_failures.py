"""How an IKE SA can end for the sake of where it runs, or because its peer has lost it, in an operator's words."""

from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import NotifyType


def address_gone(local: IPAddress) -> Failure:
    """Our address has gone, and without MOBIKE the IKE SA cannot follow."""
    return Failure(
        code=FailureCode.PATH_LOST,
        text=f"our address {local} has gone, and this IKE SA cannot move to another one",
        cause="without MOBIKE (RFC 4555) an IKE SA is bound to its addresses; a new one is made from the new address",
        cure="set ike.mobike: true on both ends",
    )


def addresses_refused(notify: NotifyType) -> Failure:
    """The peer accepts no pair of addresses that is left."""
    return Failure(
        code=FailureCode.PATH_LOST,
        notify=notify.name,
        text=f"the peer answered {notify.name}: it accepts no pair of addresses that we have left",
        cause="a policy of the peer's, or a NAT where it forbids one",
        cure="see the peer's log; a new IKE SA is tried",
    )


def wrong_cookie2() -> Failure:
    """COOKIE2 has not come back as it was sent (RFC 4555 3.7)."""
    return Failure(
        code=FailureCode.INVALID_SYNTAX,
        notify=NotifyType.COOKIE2.name,
        text="the peer has not returned COOKIE2 as we sent it, so that nothing shows that it receives there",
        cause="the peer does not follow RFC 4555 3.7",
        cure="look at the peer's software; ike.mobike: false does without",
    )


def peer_restarted(remote: Endpoint) -> Failure:
    """The peer has proved that it has lost the IKE SA (RFC 6290)."""
    return Failure(
        code=FailureCode.PEER_RESTARTED,
        notify=NotifyType.QCD_TOKEN.name,
        text=f"{remote} has lost the IKE SA, and proves it by its token",
        cause="the peer has crashed and restarted",
        cure="nothing: what should be up is negotiated again at once",
    )
