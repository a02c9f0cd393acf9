"""Values that the kernel tests share."""

from ipaddress import ip_address, ip_network

from xfrmctl.kernel.desired import Action, Desired, Policy, PolicyKey, Template
from xfrmctl.kernel.ownership import reqid_for
from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.sa import Direction, KernelSa, SaKeys
from xfrmctl.model.suite import Suite

A, B = ip_address("172.16.1.1"), ip_address("172.16.2.1")
A6, B6 = ip_address("fd16:1::1"), ip_address("fd16:2::1")
GCM = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 128)
GCM_KEYS = SaKeys(bytes(range(20)))
CBC = Suite(ProtocolId.ESP, Encr.AES_CBC, 256, Integ.HMAC_SHA2_512_256)
CBC_KEYS = SaKeys(bytes(range(32)), bytes(range(64)))
CHACHA = Suite(ProtocolId.ESP, Encr.CHACHA20_POLY1305, 256)
CHACHA_KEYS = SaKeys(bytes(range(36)))


def sa(spi: int = 0x1001, **changes: object) -> KernelSa:
    """An outbound GCM SA with some fields changed."""
    fields: dict[str, object] = {
        "direction": Direction.OUT,
        "source": A,
        "destination": B,
        "spi": spi,
        "reqid": reqid_for(1),
        "suite": GCM,
    }
    return KernelSa(**(fields | changes))  # type: ignore[arg-type]


def child(number: int = 1, *, block: bool = False, if_id: int = 0, priority: int = 1000) -> dict[PolicyKey, Policy]:
    """The three policies of one child: out, in, fwd."""
    local, remote = ip_network(f"10.1.{number}.0/24"), ip_network(f"10.2.{number}.0/24")
    found: dict[PolicyKey, Policy] = {}
    for direction in Direction:
        out = direction is Direction.OUT
        key = PolicyKey(direction, local if out else remote, remote if out else local, if_id=if_id)
        template = Template(A if out else B, B if out else A, reqid_for(number))
        action = Action.BLOCK if block else Action.ALLOW
        found[key] = Policy(key, action, priority, None if block else template)
    return found


def state(*children: dict[PolicyKey, Policy]) -> Desired:
    """A state of policies only."""
    return Desired(policies={key: policy for one in children for key, policy in one.items()})
