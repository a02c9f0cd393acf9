"""The states of an IKE SA: a table, enforced (RFC 7296 1.2, 1.4.1; names of the initiator's and responder's sides).

initiator  INIT_SENT ──▶ AUTH_SENT ──▶ ESTABLISHED ──▶ DELETING ──▶ CLOSED
responder  INIT_ANSWERED ──▶ AUTH_RECEIVED ──▶ ESTABLISHED …
rekeyed    ESTABLISHED ──▶ REKEYED ──▶ DELETING, CLOSED; its successor begins ESTABLISHED (2.18)
"""

from enum import Enum


class IkeState(Enum):
    """Where an IKE SA stands; the value is what ``show`` prints."""

    INIT_SENT = "init-sent"
    AUTH_SENT = "auth-sent"
    INIT_ANSWERED = "init-answered"
    AUTH_RECEIVED = "auth-received"
    ESTABLISHED = "established"
    REKEYED = "rekeyed"
    DELETING = "deleting"
    CLOSED = "closed"

    __hash__ = object.__hash__  # members are singletons, and Enum's own hash is a Python call


MEANING: dict[IkeState, str] = {
    IkeState.INIT_SENT: "IKE_SA_INIT sent, no answer yet: is UDP 500 open to the peer and back?",
    IkeState.AUTH_SENT: "keys agreed, IKE_AUTH sent: waiting for the peer to prove its identity",
    IkeState.INIT_ANSWERED: "answered the peer's IKE_SA_INIT: waiting for its IKE_AUTH",
    IkeState.AUTH_RECEIVED: "the peer has proved its identity: waiting for the kernel to take the SAs",
    IkeState.ESTABLISHED: "both ends have proved their identity",
    IkeState.REKEYED: "replaced by a new IKE SA: waiting for its end",
    IkeState.DELETING: "delete sent: waiting for the peer to acknowledge",
    IkeState.CLOSED: "gone",
}

TRANSITIONS: dict[IkeState, frozenset[IkeState]] = {
    IkeState.INIT_SENT: frozenset({IkeState.AUTH_SENT, IkeState.CLOSED}),
    IkeState.AUTH_SENT: frozenset({IkeState.ESTABLISHED, IkeState.DELETING, IkeState.CLOSED}),
    IkeState.INIT_ANSWERED: frozenset({IkeState.AUTH_RECEIVED, IkeState.ESTABLISHED, IkeState.CLOSED}),
    IkeState.AUTH_RECEIVED: frozenset({IkeState.ESTABLISHED, IkeState.CLOSED}),
    IkeState.ESTABLISHED: frozenset({IkeState.REKEYED, IkeState.DELETING, IkeState.CLOSED}),
    IkeState.REKEYED: frozenset({IkeState.DELETING, IkeState.CLOSED}),
    IkeState.DELETING: frozenset({IkeState.CLOSED}),
    IkeState.CLOSED: frozenset(),
}


class ChildState(Enum):
    """Where a CHILD SA stands.

    INSTALLING ──▶ INSTALLED ──▶ REKEYING ──▶ REPLACED; a rekey by the peer leads from INSTALLED to REPLACED at once.
    """

    INSTALLING = "installing"
    INSTALLED = "installed"
    REKEYING = "rekeying"
    REPLACED = "replaced"


HALF_OPEN = frozenset({IkeState.INIT_ANSWERED})
"""States of a responder that has spent memory on a peer that has not authenticated itself."""
