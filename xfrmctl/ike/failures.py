"""Every failure of a negotiation in an operator's words: what, why, and what to do. One place, one wording.

Each function returns a :class:`Failure`; the engine emits it, ``show`` prints it, metrics label it by its code.
"""

from collections.abc import Iterable

from xfrmctl.model.address import Endpoint
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.failure import Failure, FailureCode
from xfrmctl.model.iana import AuthMethod, NotifyType
from xfrmctl.model.identity import Identity, IdentityPattern
from xfrmctl.model.selector import OPAQUE, TrafficSelector
from xfrmctl.model.suite import Proposal


def _strings(values: Iterable[object]) -> tuple[str, ...]:
    return tuple(str(v) for v in values)


def no_proposal(what: str, ours: Iterable[Proposal], theirs: Iterable[Proposal]) -> Failure:
    """We found nothing acceptable in the peer's offer. ``what``: IKE, ESP or AH."""
    key = "ike.proposals" if what == "IKE" else f"children.*.{what.lower()}"
    return Failure(
        code=FailureCode.NO_PROPOSAL_CHOSEN,
        notify=NotifyType.NO_PROPOSAL_CHOSEN.name,
        text=f"no common {what} proposal: the peer offers nothing that we accept",
        cause=f"our {key} and the peer's share no combination of algorithms",
        cure=f"give both ends one {what} proposal in common, for example by adding one of the peer's to {key}",
        ours=_strings(ours),
        theirs=_strings(theirs),
    )


def peer_refused_proposal(what: str, ours: Iterable[Proposal]) -> Failure:
    """The peer answered NO_PROPOSAL_CHOSEN. It does not say what it would take."""
    key = "ike.proposals" if what == "IKE" else f"children.*.{what.lower()}"
    return Failure(
        code=FailureCode.NO_PROPOSAL_CHOSEN,
        notify=NotifyType.NO_PROPOSAL_CHOSEN.name,
        text=f"the peer answered NO_PROPOSAL_CHOSEN to our {what} offer",
        cause=f"its {what} algorithms share nothing with ours"
        + (", or it has no connection for our address" if what == "IKE" else ", for instance in PFS"),
        cure=f"compare {key} with the peer's configuration; its log names what it would accept",
        ours=_strings(ours),
    )


def bad_answer(what: str, ours: Iterable[Proposal], theirs: Iterable[Proposal]) -> Failure:
    """The peer chose something that we had not offered."""
    return Failure(
        code=FailureCode.NO_PROPOSAL_CHOSEN,
        text=f"the peer's {what} answer is not one of our proposals",
        cause="the peer does not follow RFC 7296 3.3.6, or the message is not from the peer",
        cure="look at the peer's software; report the offer and the answer shown here",
        ours=_strings(ours),
        theirs=_strings(theirs),
    )


def ts_unacceptable(ours: Iterable[TrafficSelector], theirs: Iterable[TrafficSelector], *, by_peer: bool) -> Failure:
    """Selectors are disjoint; ``ours`` and ``theirs`` are flat lists spelled ``local === remote``."""
    theirs = tuple(theirs)
    text = "the peer answered TS_UNACCEPTABLE" if by_peer else "the peer asks for selectors that no child of ours has"
    opaque = any((ts.start_port, ts.end_port) == OPAQUE for ts in theirs)
    return Failure(
        code=FailureCode.TS_UNACCEPTABLE,
        notify=NotifyType.TS_UNACCEPTABLE.name,
        text=text,
        cause="it asks for packets whose ports are not visible (OPAQUE), and Linux has no selector for them"
        if opaque
        else "local_ts here must meet remote_ts there, and the other way round",
        cure="make local_ts/remote_ts mirror images of the peer's",
        ours=_strings(ours),
        theirs=_strings(theirs),
    )


def selectors_taken(
    who: Identity, holder: Identity, wanted: Iterable[TrafficSelector], held: Iterable[TrafficSelector]
) -> Failure:
    """Two peers of one connection want the same inner addresses, and the kernel could send a packet to one only."""
    return Failure(
        code=FailureCode.SELECTORS_TAKEN,
        notify=NotifyType.TS_UNACCEPTABLE.name,
        text=f"{who} asks for selectors that {holder} has: {_listed(wanted)}",
        cause="two peers of this connection claim the same addresses behind them: a misconfigured one, two sites with "
        "the same private network, or one that would have the other's packets",
        cure="give each peer inner addresses of its own; or a connection of its own with dataplane: interface, where "
        "routes (or network namespaces) tell equal addresses apart",
        ours=_strings(held),
        theirs=_strings(wanted),
    )


def _listed(selectors: Iterable[TrafficSelector]) -> str:
    return ", ".join(_strings(selectors)[:6])


def ts_widened(ours: Iterable[TrafficSelector], theirs: Iterable[TrafficSelector]) -> Failure:
    """The responder's answer is not a subset of our selectors (RFC 7296 2.9)."""
    return Failure(
        code=FailureCode.TS_UNACCEPTABLE,
        text="the peer's answer has selectors that we did not offer",
        cause="the peer widens selectors, which RFC 7296 2.9 forbids",
        cure="look at the peer's software; report the selectors shown here",
        ours=_strings(ours),
        theirs=_strings(theirs),
    )


def ts_narrowed(old: Iterable[TrafficSelector], new: Iterable[TrafficSelector], *, by_peer: bool) -> Failure:
    """A rekey would leave some of the traffic of the CHILD SA without one (RFC 7296 2.9.2)."""
    asked = "the peer's answer to a rekey" if by_peer else "the peer's request to rekey"
    return Failure(
        code=FailureCode.TS_UNACCEPTABLE,
        notify=NotifyType.TS_UNACCEPTABLE.name,
        text=f"{asked} has narrower selectors than the CHILD SA that it is about",
        cause="the selectors of the peer's configuration have changed",
        cure="take the CHILD SA down and up again, so that both ends negotiate what is configured now",
        ours=_strings(old),
        theirs=_strings(new),
    )


def psk_mismatch(local_id: Identity, remote_id: Identity) -> Failure:
    """The peer's AUTH does not verify with our key."""
    return Failure(
        code=FailureCode.AUTHENTICATION_FAILED,
        notify=NotifyType.AUTHENTICATION_FAILED.name,
        text=f"the peer's proof of identity {remote_id} does not verify",
        cause=f"the pre-shared key for {local_id} and {remote_id} differs between the two ends",
        cure="put the same key on both ends; mind a trailing newline or a different encoding (0x…, 0s…)",
    )


def no_psk(remote_id: Identity, connection: str) -> Failure:
    """A peer of many for which we have no key."""
    return Failure(
        code=FailureCode.AUTHENTICATION_FAILED,
        notify=NotifyType.AUTHENTICATION_FAILED.name,
        text=f"connection {connection} has no key for {remote_id}",
        cause="auth.psks has no such identity, and there is no auth.psk for everybody",
        cure=f"add {remote_id} to auth.psks with the peer's key, or mend the identity on the peer",
    )


def peer_rejected_auth(local_id: Identity, remote_id: Identity | None) -> Failure:
    """The peer answered AUTHENTICATION_FAILED; it does not say why (RFC 7296 2.21.2)."""
    return Failure(
        code=FailureCode.AUTHENTICATION_FAILED,
        notify=NotifyType.AUTHENTICATION_FAILED.name,
        text="the peer answered AUTHENTICATION_FAILED",
        cause=f"the pre-shared key differs, or the peer knows no connection for our identity {local_id}"
        + (f" and its own {remote_id}" if remote_id else ""),
        cure="compare the key and both identities with the peer's configuration; its log says which one it was",
    )


def wrong_method(method: AuthMethod, connection: str) -> Failure:
    """The peer proves itself in a way that the connection does not expect."""
    return Failure(
        code=FailureCode.AUTHENTICATION_FAILED,
        notify=NotifyType.AUTHENTICATION_FAILED.name,
        text=f"the peer authenticates by {method.name}, connection {connection} expects a pre-shared key",
        cause="the two ends are configured for different kinds of authentication",
        cure="configure a pre-shared key on the peer",
        theirs=(method.name,),
    )


def identity_mismatch(expected: Iterable[Identity | IdentityPattern | None], got: Identity, *, whose: str) -> Failure:
    """An identity is not the configured one. ``whose``: remote (IDi/IDr of the peer) or local (what it calls us)."""
    key = "remote.id" if whose == "remote" else "local.id"
    return Failure(
        code=FailureCode.IDENTITY_MISMATCH,
        notify=NotifyType.AUTHENTICATION_FAILED.name,
        text=f"the peer {'says it is' if whose == 'remote' else 'wants to talk to'} {got}",
        cause=f"{key} of the connection is another identity, or of another type",
        cure=f"write {key}: {got}, or change the identity on the peer",
        ours=_strings(e if e is not None else "any" for e in expected),
        theirs=(str(got),),
    )


def unknown_peer(remote: Endpoint, local: Endpoint) -> Failure:
    """No connection is configured between these addresses."""
    return Failure(
        code=FailureCode.UNKNOWN_PEER,
        notify=NotifyType.NO_PROPOSAL_CHOSEN.name,
        text=f"no connection is configured for {remote.address} to {local.address}",
        cause="local.address/remote.address of no connection fits; behind a NAT the peer's address is the NAT's",
        cure="add the connection, or leave remote.address out for peers with changing addresses",
        theirs=(str(remote),),
    )


def invalid_ke(text: str) -> Failure:
    """A public value is not acceptable, or the peer insists on a method that we do not offer."""
    return Failure(
        code=FailureCode.INVALID_KE,
        notify=NotifyType.INVALID_KE_PAYLOAD.name,
        text=text,
        cause="the two ends do not agree on a key exchange method, or a message was tampered with",
        cure="give both ends one key exchange method in common, for example x25519",
    )


def invalid_syntax(detail: str) -> Failure:
    """A peer's authentic message breaks the protocol."""
    return Failure(
        code=FailureCode.INVALID_SYNTAX,
        notify=NotifyType.INVALID_SYNTAX.name,
        text=f"the peer's message breaks the protocol: {detail}",
        cause="a fault in the peer's software, or one in ours",
        cure="report it with the log of both ends",
    )


def no_response(remote: Endpoint, attempts: int, stage: str) -> Failure:
    """Nothing came back. ``stage`` names the exchange."""
    first = stage == "IKE_SA_INIT"
    return Failure(
        code=FailureCode.NO_RESPONSE,
        text=f"no answer from {remote} to {stage} after {attempts} attempts",
        cause="the peer is down or unreachable, or a firewall drops UDP "
        + ("500 on the way there or back" if first else f"{remote.port}"),
        cure="check that the peer runs and that UDP 500 and 4500 are open both ways",
    )


def peer_dead(remote: Endpoint, attempts: int) -> Failure:
    """An established peer has gone silent (RFC 7296 2.4)."""
    return Failure(
        code=FailureCode.PEER_DEAD,
        text=f"{remote} no longer answers: {attempts} attempts",
        cause="the peer has stopped, lost its state, or the path to it is broken",
        cure="it is tried again by itself where the configuration says so; check the peer and the path",
    )


def peer_deleted(what: str) -> Failure:
    """The peer took an SA down. ``what``: IKE SA or CHILD SA."""
    return Failure(
        code=FailureCode.PEER_DELETED,
        text=f"the peer deleted the {what}",
        cause="its operator or its configuration ended it",
        cure="it comes up again by itself with start: start (at once) or start: trap (on traffic)",
    )


NO_KERNEL_SUPPORT = frozenset({2, 38, 93})
"""ENOENT, ENOSYS, EPROTONOSUPPORT: the kernel lacks the algorithm or the protocol."""


def kernel_refused(refusal: KernelRefusal) -> Failure:
    """The kernel would not take an SA."""
    lacking = refusal.code in NO_KERNEL_SUPPORT
    return Failure(
        code=FailureCode.KERNEL_REFUSED,
        text=f"the kernel refused: {refusal}",
        cause="this kernel was built without it, or its module is not loaded and cannot be"
        if lacking
        else "another SA has the SPI, or the kernel finds something wrong with this one",
        cure="load esp4/esp6 and the cipher's module, or choose algorithms that this kernel has"
        if lacking
        else "it is tried again with another SPI; if it goes on, report it with the log",
    )


def spi_taken(spi: int) -> Failure:
    """The peer has chosen an SPI that the kernel holds already, for this address, for another CHILD SA."""
    return Failure(
        code=FailureCode.KERNEL_REFUSED,
        notify=NotifyType.TEMPORARY_FAILURE.name,
        text=f"the peer has chosen SPI {spi:#010x}, and another CHILD SA to the same address has it",
        cause="two peers behind one NAT have chosen the same number, or the peer is broken or hostile",
        cure="nothing, if it happens once in a while: the next try has another SPI",
    )


def refused_by_peer(notify: NotifyType) -> Failure:
    """Any other error Notify."""
    hints = {
        NotifyType.NO_ADDITIONAL_SAS: "the peer takes no further CHILD SAs or no rekeying on this IKE SA",
        NotifyType.TEMPORARY_FAILURE: "the peer is busy, for instance rekeying; it is tried again",
        NotifyType.INVALID_SYNTAX: "the peer could not read our message",
        NotifyType.SINGLE_PAIR_REQUIRED: "the peer takes one pair of addresses per CHILD SA only",
        NotifyType.FAILED_CP_REQUIRED: "the peer wants to hand out an address (remote access)",
        NotifyType.INTERNAL_ADDRESS_FAILURE: "the peer has no address to hand out",
    }
    return Failure(
        code=FailureCode.REFUSED_BY_PEER,
        notify=notify.name,
        text=f"the peer answered {notify.name}",
        cause=hints.get(notify, "see the peer's log"),
        cure="see the peer's log for the reason it had",
    )


def not_childless() -> Failure:
    """We want an IKE SA without a first child, and the peer does not know how (RFC 6023)."""
    return Failure(
        code=FailureCode.REFUSED_BY_PEER,
        text="the peer does not make IKE SAs without a CHILD SA, and ike.childless: force wants nothing else",
        cause="it has not sent CHILDLESS_IKEV2_SUPPORTED (RFC 6023)",
        cure="write ike.childless: allow, or switch it on at the peer",
    )


def childless_wanted() -> Failure:
    """The peer has brought a first child in IKE_AUTH, and we want it in an exchange of its own."""
    return Failure(
        code=FailureCode.TS_UNACCEPTABLE,
        notify=NotifyType.NO_ADDITIONAL_SAS.name,
        text="the peer offers a CHILD SA in IKE_AUTH, and ike.childless: force accepts none there",
        cause="its keys would have no key exchange of their own (RFC 6023)",
        cure="it may ask again by CREATE_CHILD_SA; for the peer: childless initiation; for us: ike.childless: allow",
    )


def lifetime_expired() -> Failure:
    """A hard lifetime ended an SA."""
    return Failure(
        code=FailureCode.LIFETIME_EXPIRED,
        text="the SA has reached its lifetime",
        cause="children.*.lifetime",
        cure="it is negotiated again by itself where the child starts by itself or on traffic",
    )


def deleted_from_kernel() -> Failure:
    """Somebody has deleted an SA of ours."""
    return Failure(
        code=FailureCode.LIFETIME_EXPIRED,
        text="the SA is no longer in the kernel",
        cause="not we have deleted it: another program, or somebody by hand (ip xfrm state delete)",
        cure="it is negotiated again by itself where the child starts by itself or on traffic",
    )


def identity_in_use(who: Identity, holder: Endpoint) -> Failure:
    """``unique: keep``: this identity is here already."""
    return Failure(
        code=FailureCode.IDENTITY_IN_USE,
        notify=NotifyType.AUTHENTICATION_FAILED.name,
        text=f"{who} is here already, from {holder}, and the connection says unique: keep",
        cause="two peers prove the same identity, or one has come back from another address before we missed it",
        cure="give each peer an identity of its own; with unique: replace the newcomer takes the old one's place",
    )


def replaced(newcomer: Endpoint) -> Failure:
    """``unique: replace``: the same identity has come again, from elsewhere."""
    return Failure(
        code=FailureCode.PEER_DELETED,
        text=f"the same identity has made a new IKE SA from {newcomer}, which takes this one's place",
        cause="the peer has a new address, or two peers prove the same identity",
        cure="if two peers throw each other out again and again, give each an identity of its own (or unique: no)",
    )


def superseded() -> Failure:
    """The peer says that it knows of no other IKE SA with us (N(INITIAL_CONTACT), RFC 7296 2.4)."""
    return Failure(
        code=FailureCode.PEER_DELETED,
        text="the peer has started afresh: a new IKE SA takes this one's place",
        cause="INITIAL_CONTACT: the peer restarted or lost its state",
        cure="nothing is to be done; if it comes again and again, two peers prove the same identity",
    )


def operator(text: str) -> Failure:
    """Somebody on our side wanted it: ``down``, ``reload``, a stop."""
    return Failure(code=FailureCode.OPERATOR, text=text)


def taken_down() -> Failure:
    """``xfrmctl down``."""
    return operator("taken down by the operator")


def rekeyed(what: str) -> Failure:
    """No failure at all: a successor has taken over. ``what``: IKE SA or CHILD SA."""
    return Failure(code=FailureCode.REKEYED, text=f"the {what} has been rekeyed")


def redundant() -> Failure:
    """Both sides rekeyed at once; one of the two results goes (RFC 7296 2.8.1)."""
    return Failure(code=FailureCode.REKEYED, text="both sides rekeyed at once: this one is redundant")


def reauthenticated() -> Failure:
    """No failure: the peer has proved its identity again, on a new IKE SA."""
    return Failure(code=FailureCode.REKEYED, text="reauthenticated: a new IKE SA has taken over")
