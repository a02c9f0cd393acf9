"""Who answers questions about this gateway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from xfrmctl.model.address import IPAddress
from xfrmctl.model.observed import Defaults, ObservedDevice, ObservedPolicy, ObservedSa, RouteLookup
from xfrmctl.netfilter.nft import NftRuleSet
from xfrmctl.netfilter.packet import Packet
from xfrmctl.netfilter.rules import RuleSet


@dataclass(frozen=True, slots=True)
class NamedRules:
    """The rules of one variant of iptables: ``name`` is iptables, iptables-legacy, …"""

    name: str
    rules: RuleSet


class World(Protocol):
    """A gateway at one moment, that can be asked about routes."""

    @property
    def policies(self) -> Sequence[ObservedPolicy]:
        """Every policy with a selector."""

    @property
    def sas(self) -> Sequence[ObservedSa]:
        """Every SA with an SPI."""

    @property
    def devices(self) -> Mapping[str, ObservedDevice]:
        """Every device by its name."""

    @property
    def defaults(self) -> Defaults:
        """What becomes of packets without a policy."""

    @property
    def native(self) -> NftRuleSet:
        """The rules of nf_tables that iptables does not know."""

    def route(self, packet: Packet, iif: str = "") -> RouteLookup:
        """Where a packet goes: one that came in by ``iif``, else one of this host's own."""

    def reverse(self, address: IPAddress, mark: int = 0) -> RouteLookup:
        """Where an answer to an address would go."""

    def rules(self, version: int) -> Sequence[NamedRules]:
        """The rules of iptables for IPv4 or IPv6, of every variant that holds some."""

    def in_set(self, name: str, flags: tuple[str, ...], packet: Packet) -> bool | None:
        """Whether a set of ipset has the packet; None where nobody can tell."""

    def sysctl(self, name: str) -> str | None:
        """``net.ipv4.ip_forward`` and the like; None where there is none."""


def is_local(world: World, address: IPAddress) -> bool:
    """Whether the address is one of this host's."""
    return any(address in device.addresses for device in world.devices.values()) or address.is_loopback
