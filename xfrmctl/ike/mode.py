"""Tunnel or transport mode (RFC 7296 1.3.1), and transport mode through a NAT (2.23.1). Pure functions.

The initiator asks for transport mode with N(USE_TRANSPORT_MODE), and a responder that grants it says the same; one
that does not leaves the notify out, and the CHILD SA is a tunnel. Whether that is good enough is the child's setting:
with ``mode: transport`` it is not, and neither is a peer that does not ask for it. A rekey keeps the mode of the
CHILD SA that it replaces.

In transport mode the packets keep their own header, so its selectors are the two addresses of the IKE SA. Behind a
NAT the two ends know different ones: selectors name an address as its sender sees it. Each end therefore puts the
address it sees in the place of the one it reads, before it looks into its policy, and a responder answers with what
it has read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from xfrmctl.ike.config import ChildConfig
from xfrmctl.ike.sa import ChildSa, IkeSa
from xfrmctl.model.address import IPAddress
from xfrmctl.model.iana import NotifyType
from xfrmctl.model.sa import Mode
from xfrmctl.model.selector import TrafficSelector, narrow
from xfrmctl.wire.message import notify_of
from xfrmctl.wire.payloads import Notify, Payload

Selectors = tuple[TrafficSelector, ...]


def wanted(config: ChildConfig, old: ChildSa | None = None) -> Mode:
    """The mode that we ask for; ``old`` is the CHILD SA that a rekey is to replace."""
    return config.mode if old is None else old.mode


def notices(mode: Mode) -> list[Payload]:
    """What a request or an answer says for this mode."""
    return [Notify(NotifyType.USE_TRANSPORT_MODE)] if mode is Mode.TRANSPORT else []


def is_transport(payloads: Sequence[Payload]) -> bool:
    """Whether the peer asks for transport mode, or grants it."""
    return notify_of(payloads, NotifyType.USE_TRANSPORT_MODE) is not None


def agreed(config: ChildConfig, old: ChildSa | None, payloads: Sequence[Payload]) -> Mode | None:
    """The mode that the peer's message and our setting come to, whoever asked; None where they do not."""
    ours = wanted(config, old)
    if ours is Mode.TRANSPORT and is_transport(payloads):
        return Mode.TRANSPORT
    tunnel_will_do = ours is Mode.TUNNEL or (old is None and config.tunnel_will_do)
    return Mode.TUNNEL if tunnel_will_do else None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Selectors of a transport mode CHILD SA as we see them, and the addresses that the peer has for the two ends."""

    local: Selectors
    remote: Selectors
    local_as_read: IPAddress | None
    remote_as_read: IPAddress | None

    @classmethod
    def read(cls, sa: IkeSa, local: Selectors, remote: Selectors) -> "Endpoints":
        """Take the peer's selectors: ``local`` are those of our side. Nothing beyond the two ends is left of them."""
        local_as_read = _only_address(local) if sa.nat_local else None
        remote_as_read = _only_address(remote) if sa.nat_remote else None
        ours, theirs = sa.local.address, sa.remote.address
        return cls(
            narrow(_with_address(local, ours) if local_as_read else local, (_host(ours),)),
            narrow(_with_address(remote, theirs) if remote_as_read else remote, (_host(theirs),)),
            local_as_read,
            remote_as_read,
        )

    def as_peer_sees(self, local: Selectors, remote: Selectors) -> tuple[Selectors, Selectors]:
        """Narrowed selectors of ours in the peer's addresses."""
        return (
            _with_address(local, self.local_as_read) if self.local_as_read else local,
            _with_address(remote, self.remote_as_read) if self.remote_as_read else remote,
        )


def _host(address: IPAddress) -> TrafficSelector:
    return TrafficSelector(address, address)


def _only_address(selectors: Selectors) -> IPAddress | None:
    """The one address of all selectors (2.23.1 demands exactly one), or None."""
    addresses = {a for s in selectors for a in (s.start, s.end)}
    return addresses.pop() if len(addresses) == 1 else None


def _with_address(selectors: Selectors, address: IPAddress) -> Selectors:
    return tuple(replace(s, start=address, end=address) for s in selectors)
