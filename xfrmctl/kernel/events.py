"""What the kernel reports by itself, as plain values. Only what concerns SAs and policies of ours."""

from dataclasses import dataclass

from xfrmctl.model.address import Endpoint, IPAddress
from xfrmctl.model.flow import TYPED
from xfrmctl.model.sa import SaId
from xfrmctl.model.selector import ANY_PORT, TrafficSelector


@dataclass(frozen=True, slots=True)
class Acquire:
    """A packet matched a policy that has no SA yet (``struct xfrm_user_acquire``).

    The addresses, the protocol and the ports are the packet's own. ``seq`` goes into ``KernelSa.acquire_seq`` of
    the outbound SA, which then takes the place of the kernel's larval state.
    """

    reqid: int
    if_id: int
    seq: int
    source: IPAddress
    destination: IPAddress
    protocol: int
    source_port: int
    destination_port: int

    @property
    def selectors(self) -> tuple[TrafficSelector, TrafficSelector]:
        """The packet's own, source and destination: those of its conversation, and no more."""
        source, destination = self.source_port, self.destination_port
        if self.protocol in TYPED:
            both = (source << 8 | destination,) * 2
            ports = both, both
        elif self.protocol and (source or destination):
            ports = (source, source), (destination, destination)
        else:
            ports = ANY_PORT, ANY_PORT
        return (
            TrafficSelector(self.source, self.source, self.protocol, *ports[0]),
            TrafficSelector(self.destination, self.destination, self.protocol, *ports[1]),
        )


@dataclass(frozen=True, slots=True)
class Expire:
    """A limit of an SA was reached (``struct xfrm_user_expire``). After a hard one the SA is gone."""

    id: SaId
    reqid: int
    hard: bool


@dataclass(frozen=True, slots=True)
class Mapping:
    """Packets of an inbound UDP-encapsulated SA now come from elsewhere (``struct xfrm_user_mapping``)."""

    id: SaId
    old: Endpoint
    new: Endpoint


@dataclass(frozen=True, slots=True)
class Lost:
    """The socket overflowed (ENOBUFS): events are missing; dump and compare."""


@dataclass(frozen=True, slots=True)
class Disturbed:
    """Somebody else has deleted an SA or a policy of ours, or all of the host's: dump and compare."""


KernelEvent = Acquire | Expire | Mapping | Lost | Disturbed
