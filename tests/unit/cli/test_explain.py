"""``xfrmctl explain`` as a user runs it, on a gateway that is a value."""

import json
from collections.abc import Callable
from types import TracebackType

import pytest

from tests.unit.cli.test_cli import Run
from tests.unit.journey.gateways import Gateway
from xfrmctl.cli import here
from xfrmctl.kernel import observe
from xfrmctl.model.errors import KernelRefusal


class Nobody:
    """An observer that is never asked."""

    def __enter__(self) -> "Nobody":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Nothing is open."""


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gateway], None]:
    def put(gateway: Gateway) -> None:
        monkeypatch.setattr(observe, "Observer", Nobody)
        monkeypatch.setattr(here, "Here", lambda _: gateway)

    return put


def test_the_order_of_events(on: Callable[[Gateway], None]) -> None:
    on(Gateway())
    run = Run("explain", "10.1.1.10", "10.1.2.10", "tcp", "443", "--length", "60", width=160)
    assert run.code == 0 and run.err == ""
    assert "10.1.1.10 > 10.1.2.10:443: the first packet" in run.out
    assert "10.1.2.10:443 > 10.1.1.10: the answer" in run.out
    assert "ip route get 10.1.2.10 from 10.1.1.10 iif lan: unicast dev wan" in run.out
    assert (
        run.out.count("gets through") == 2
        and "leaves by wan as 172.16.1.1 > 172.16.2.1, protocol 50, 116 bytes" in run.out
    )
    assert "depends on whether frag-needed reaches the other end" in run.out


def test_a_drop_is_status_1_and_json_says_where(on: Callable[[Gateway], None]) -> None:
    on(Gateway(iptables="*filter\n:FORWARD DROP [3:180]\nCOMMIT\n"))
    run = Run("explain", "10.1.1.10", "10.1.2.10", "icmp", "--json")
    found = json.loads(run.out)
    assert run.code == 1 and found["dropped"] and found["there"]["dropped"]
    assert found["there"]["steps"][-1] == {
        "where": "FORWARD, filter",
        "outcome": "drop",
        "text": "the policy of FORWARD is DROP: drop",
        "evidence": ["iptables: filter FORWARD: the policy is DROP"],
        "depends": [],
    }
    assert "DROPPED: dropped at FORWARD, filter" in Run("explain", "10.1.1.10", "10.1.2.10", "icmp", width=160).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("10.1.1.10", "nowhere"), "does not appear to be an IPv4 or IPv6 address"),
        (("10.1.1.10", "fd00::1"), "one is IPv4 and the other IPv6"),
        (("10.1.1.10", "10.1.2.10", "tpc"), "is no protocol"),
        (("10.1.1.10", "10.1.2.10", "999"), "is no protocol"),
        (("10.1.1.10", "10.1.2.10", "tcp", "70000"), "65535"),
    ],
)
def test_wrong_usage_is_2(words: tuple[str, ...], said: str) -> None:
    run = Run("explain", *words, width=200)
    assert run.code == 2 and said in run.err


def test_a_kernel_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Nobody):
        def __enter__(self) -> "Nobody":
            raise KernelRefusal("dump policies", 1, "Operation not permitted: run as root")

    monkeypatch.setattr(observe, "Observer", Refusing)
    run = Run("explain", "10.1.1.10", "10.1.2.10")
    assert run.code == 1 and "run as root" in run.err and "Traceback" not in run.err
