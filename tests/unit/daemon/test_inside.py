"""Which of our addresses is the source of what we send into an interface of ours."""

from ipaddress import ip_address, ip_network

from tests.sim.world import selectors
from xfrmctl.daemon.inside import errors_to_our_side, speaking
from xfrmctl.kernel.desired import Desired, PolicyKey, Route
from xfrmctl.kernel.ownership import PEER_TABLE
from xfrmctl.model.sa import Direction

INTO = Route(ip_network("10.1.2.0/24"), "xfc-7", 58)
INTO6 = Route(ip_network("fd10:2::/64"), "xfc-7", 58)
HOLE = Route(ip_network("10.1.2.0/24"), None, 4_000_000_000)
TO_PEER = Route(ip_network("172.16.2.1"), "wan", 58, 1400, table=PEER_TABLE, source=ip_address("172.16.1.1"))
OWN = tuple(map(ip_address, ("172.16.1.1", "10.1.1.1", "10.1.1.7", "fd16:1::1", "fd10:1::1")))


def sources(local_ts: str, own: tuple[object, ...] = OWN) -> dict[Route, object]:
    part = speaking(Desired(routes=frozenset({INTO, INTO6, HOLE, TO_PEER})), selectors(*local_ts.split()), own)  # type: ignore[arg-type]
    return {route: route.source for route in part.routes}


def by_place(local_ts: str) -> dict[tuple[str | None, int], str]:
    return {(r.device, r.destination.version): str(s) for r, s in sources(local_ts).items()}


def test_the_first_address_that_the_child_selects_speaks() -> None:
    assert by_place("10.1.1.0/24 fd10:1::/64") == {
        ("xfc-7", 4): "10.1.1.1",
        ("xfc-7", 6): "fd10:1::1",
        (None, 4): "None",
        ("wan", 4): "172.16.1.1",
    }


def test_without_such_an_address_or_where_all_are_selected_the_kernel_chooses() -> None:
    assert by_place("10.9.0.0/16")["xfc-7", 4] == by_place("0.0.0.0/0")["xfc-7", 4] == "None"


def excepted(
    mine: str, theirs: str, direction: Direction = Direction.OUT, *, if_id: int = 0, protocol: int = 0
) -> list[str]:
    key = PolicyKey(direction, ip_network(mine), ip_network(theirs), protocol, if_id=if_id)
    return [str(found) for found in errors_to_our_side([key])]


def test_errors_to_our_own_side_pass_where_the_other_side_is_everything() -> None:
    assert excepted("10.1.1.0/24", "0.0.0.0/0") == ["out 10.1.1.0/24:3 -> 10.1.1.0/24:4 protocol 1"]
    assert excepted("fd10:1::/64", "::/0") == [
        "out fd10:1::/64:2 -> fd10:1::/64 protocol 58",
        "out fd10:1::/64:135 -> fd10:1::/64 protocol 58",
        "in fd10:1::/64:135 -> fd10:1::/64 protocol 58",
        "out fd10:1::/64:136 -> fd10:1::/64 protocol 58",
        "in fd10:1::/64:136 -> fd10:1::/64 protocol 58",
        "out fd10:1::/64:135 -> ff02::1:ff00:0/104 protocol 58",
    ]


def test_nothing_passes_to_what_may_be_the_other_side() -> None:
    for mine, theirs in (("10.1.1.0/24", "10.1.2.0/24"), ("10.0.0.0/8", "10.1.0.0/16"), ("0.0.0.0/0", "0.0.0.0/0")):
        assert excepted(mine, theirs) == []
    assert excepted("10.1.1.0/24", "0.0.0.0/0", Direction.FWD) == []
    assert excepted("10.1.1.0/24", "0.0.0.0/0", if_id=7) == [], "routes decide, not the SPD alone"
    assert excepted("10.1.1.0/24", "0.0.0.0/0", protocol=6) == []
