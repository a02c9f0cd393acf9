"""How many strangers we talk to at once (RFC 7296 2.6): cookies first, then limits.

A half-open IKE SA costs a key exchange and some kilobytes before the peer has shown anything. From
``cookie_threshold`` on a new initiator must show that it receives at the address it claims; beyond the limits its
message is dropped.
"""

from enum import Enum

from xfrmctl.ike.core import Core
from xfrmctl.model.address import Endpoint
from xfrmctl.wire.payloads import Notify


class Verdict(Enum):
    """What becomes of an IKE_SA_INIT request."""

    ADMIT = "admit"
    DEMAND_COOKIE = "demand cookie"
    DROP = "drop"


def admit(core: Core, remote: Endpoint, spi_i: bytes, nonce: bytes, cookie: Notify | None) -> Verdict:
    """Judge a request by the state of the half-open table and the cookie it carries."""
    config = core.config
    if core.half_open_total >= config.half_open_limit:
        return Verdict.DROP
    if core.half_open.get(remote.address, 0) >= config.half_open_per_source:
        return Verdict.DROP
    if core.half_open_total < config.cookie_threshold:
        return Verdict.ADMIT
    if cookie is not None and core.cookies.check(core.now, cookie.data, nonce, remote.address.packed, spi_i):
        return Verdict.ADMIT
    return Verdict.DEMAND_COOKIE
