"""The fake asserts misuse; what the world does wrong is refused or reported; protection outlives failures."""

import errno
import select
from ipaddress import ip_network

import pytest

from tests.unit.kernel.kernel_values import GCM_KEYS, child, sa, state
from xfrmctl.kernel.desired import Desired, PolicyKey, Route, XfrmInterface
from xfrmctl.kernel.events import Expire, Lost
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.fake_sad import Misuse
from xfrmctl.kernel.ownership import if_id_for
from xfrmctl.kernel.plan import DeletePolicy, PutPolicy
from xfrmctl.model.errors import KernelRefusal
from xfrmctl.model.sa import Direction


def test_sas_come_and_go() -> None:
    kernel = FakeKernel()
    kernel.install([(sa(), GCM_KEYS), (sa(0x1002), GCM_KEYS)])
    kernel.count(sa().id, packets=2, size=100)
    assert (kernel.dump()[sa().id].packets, kernel.dump()[sa().id].bytes) == (2, 100)
    kernel.delete([sa().id])
    kernel.delete([sa().id])  # gone already: no failure
    assert "spi 0x00001002" in kernel.render() and len(kernel.dump()) == 1


def test_refusal_on_demand_leaves_nothing_behind() -> None:
    kernel = FakeKernel()
    kernel.refuse_next(errno.EEXIST)
    with pytest.raises(KernelRefusal) as caught:
        kernel.install([(sa(), GCM_KEYS)])
    assert caught.value.code == errno.EEXIST and kernel.render() == ""
    kernel.install([(sa(), GCM_KEYS)])


def test_misuse_of_the_sad() -> None:
    kernel = FakeKernel()
    kernel.install([(sa(), GCM_KEYS)])
    kernel.foreign_sas.add(sa(0x2000).id)
    with pytest.raises(Misuse, match="twice"):
        kernel.install([(sa(), GCM_KEYS)])
    with pytest.raises(Misuse, match="mark"):
        kernel.install([(sa(0x1002, reqid=1), GCM_KEYS)])
    for spi in (0x2000, 0x3000):
        with pytest.raises(Misuse, match="never was ours"):
            kernel.delete([sa(spi).id])


def test_a_policy_deleted_and_put_back_is_a_gap() -> None:
    kernel = FakeKernel()
    kernel.converge(state(child()))
    policy = next(iter(child().values()))
    kernel.apply_policies([DeletePolicy(policy)])
    with pytest.raises(Misuse, match="gap"):
        kernel.apply_policies([PutPolicy(policy)])


def test_events_wake_the_listener() -> None:
    kernel = FakeKernel()
    kernel.install([(sa(), GCM_KEYS)])
    events = kernel.open_events()
    try:
        assert not select.select([events], [], [], 0)[0]
        kernel.emit(Expire(sa().id, sa().reqid, hard=True))
        kernel.emit(Lost())
        assert select.select([events], [], [], 0)[0]
        assert events.read() == [Expire(sa().id, sa().reqid, hard=True), Lost()]
        assert events.read() == [] and not select.select([events], [], [], 0)[0]
        assert kernel.dump() == {}
    finally:
        events.close()


def test_a_foreign_policy_is_reported_and_stays() -> None:
    kernel = FakeKernel()
    key = next(key for key in child() if key.direction is Direction.OUT)
    kernel.foreign_policies.add(key)
    report = kernel.converge(state(child()))
    assert len(report.problems) == 1 and "not ours" in report.problems[0]
    assert kernel.converge(Desired()).problems == ()
    assert key in kernel.foreign_policies


def test_protection_stays_while_its_successor_is_refused() -> None:
    kernel = FakeKernel()
    network = ip_network("10.0.0.0/8")
    wide = {PolicyKey(k.direction, network, network): child(9)[k9] for k, k9 in zip(child(), child(9), strict=True)}
    wide = {key: type(p)(key, p.action, p.priority, p.template) for key, p in wide.items()}
    kernel.converge(state(wide))
    for _ in range(3):
        kernel.refuse_next(errno.ENOMEM, "policy")
    report = kernel.converge(state(child()))
    assert report.problems and wide.keys() <= kernel.policies.keys()
    assert kernel.converge(state(child())).problems == ()
    assert kernel.policies.keys() == child().keys()


def test_a_blackhole_stays_while_anything_failed() -> None:
    kernel = FakeKernel()
    guard = Route(ip_network("10.2.1.0/24"), None, 9000)
    kernel.converge(Desired(routes=frozenset({guard})))
    kernel.refuse_next(errno.EINVAL, "policy")
    kernel.converge(state(child()))
    assert guard in kernel.routes.values()
    kernel.converge(state(child()))
    assert not kernel.routes


def test_routes_without_their_device_are_a_problem() -> None:
    kernel = FakeKernel()
    desired = Desired(
        interfaces={"ipsec1": XfrmInterface("ipsec1", if_id_for(1), 1400)},
        routes=frozenset({Route(ip_network("10.2.1.0/24"), "ipsec1", 10)}),
    )
    kernel.refuse_next(errno.EOPNOTSUPP, "interface")
    assert len(kernel.converge(desired).problems) == 2
    assert kernel.converge(desired).problems == ()
