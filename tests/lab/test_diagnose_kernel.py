"""A kernel that lacks something: booted without an algorithm, without ESP over IPv6, and without xfrm interfaces."""

from pathlib import Path

import pytest

from tests.lab.faults.check import healthy, told
from tests.lab.faults.fault import Fault
from tests.lab.faults.pair import Pair
from tests.lab.tunnel import MAIN
from xfrmctl.lab.topology import Topology

KERNEL_ARGUMENTS = ["initcall_blacklist=chacha20poly1305_module_init,esp6_init,xfrmi_init"]
"""Read by tools/lab_tests.py, which boots the kernel with them."""

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(
        KERNEL_ARGUMENTS[0] not in Path("/proc/cmdline").read_text(),
        reason=f"needs: xfrmctl lab run --kernel-argument {KERNEL_ARGUMENTS[0]}",
    ),
]

CHACHA = {"children": {"lan": {"esp": ["chacha20poly1305"]}}}
CIPHER = Fault(
    name="the kernel has no ChaCha20",
    finding="kernel-refused",
    evidence="the kernel has no algorithm rfc7539esp(chacha20,poly1305)",
    a=CHACHA,
    b=CHACHA,
    side=1,
    again=True,
    seconds=0,
)


def test_an_algorithm_that_the_kernel_has_not(policies: Pair) -> None:
    """The initiator sees that its offer is refused, the responder that its own kernel is why."""
    with policies.fault(CIPHER):
        told(CIPHER, policies.diagnose(1, 0))
        (seen,) = policies.diagnose(0, 0)
        assert seen.id == "no-common-esp-proposal" and seen.evidence == ["we: chacha20poly1305-noesn"]
    healthy(policies)


@pytest.mark.parametrize(
    ("dataplane", "which", "evidence"),
    [
        ("policy", 1, "the kernel cannot do this protocol: load the modules esp4 and esp6"),
        ("interface", 0, "the kernel has no xfrm interfaces: load the module xfrm_interface"),
    ],
)
def test_a_module_that_the_kernel_has_not(topology: Topology, dataplane: str, which: int, evidence: str) -> None:
    pair = Pair(topology, dataplane, which=which)
    with pair.gateways[1], pair.gateways[0]:
        pair.gateways[0].client.up(MAIN, timeout_s=5)
        (found,) = pair.diagnose(1, 0)
    assert found.id == "kernel-refused" and evidence in found.evidence[0], found
    assert any("modprobe" in line.text for line in found.lines)
