"""What a reload does not change: bound sockets, and what was handed to others, wait for the next start."""

from dataclasses import fields, replace

from xfrmctl.config.build import GatewaySettings
from xfrmctl.config.load import Configuration
from xfrmctl.ike.config import EngineConfig

LIVE = frozenset({"policies", "icmp", "crash_detection", "path_mtu", "path_mtu_of"})
"""Fields of the gateway's settings that a reload takes over."""


def pending(started: Configuration, newer: Configuration) -> list[str]:
    """Keys of ``gateway`` that differ from those the daemon has started with, and wait for the next start."""
    names = [field.name for field in fields(GatewaySettings) if field.name not in LIVE]
    found = [f"gateway.{n}" for n in names if getattr(started.gateway, n) != getattr(newer.gateway, n)]
    if _ports(started.engine) != _ports(newer.engine):
        found.append("gateway.ports")
    return found


def on_bound_ports(started: Configuration, config: EngineConfig) -> EngineConfig:
    """The configuration with the UDP ports that the daemon really listens on."""
    ike_port, nat_t_port = _ports(started.engine)
    return replace(config, ike_port=ike_port, nat_t_port=nat_t_port)


def _ports(config: EngineConfig) -> tuple[int, int]:
    return config.ike_port, config.nat_t_port
