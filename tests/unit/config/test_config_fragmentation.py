"""DF outside and oversize packets inside: what is taken, and what two children of a peer must agree on."""

from pathlib import Path

from tests.unit.config.config_files import loaded, only
from xfrmctl.model.sa import DfPolicy, Oversize


def _text(*children: str, peers: tuple[str, ...] = ("192.0.2.2",)) -> str:
    lines = ["connections:"]
    for number, peer in enumerate(peers):
        lines += [
            f"  c{number}:",
            "    local: {address: 192.0.2.1}",
            f"    remote: {{address: {peer}, id: fqdn:peer{number}}}",
            "    auth: {psk: !file k}",
            "    children:",
        ]
        for count, child in enumerate(children[number :: len(peers)]):
            nets = f"local_ts: 10.{number}.{count}.0/24, remote_ts: 10.{100 + number}.{count}.0/24"
            lines.append(f"      k{count}: {{{nets}, dataplane: interface, {child}}}")
    return "\n".join(lines) + "\n"


def test_both_keys_on_the_interface_plane(place: Path) -> None:
    found = loaded(place, _text("df: set, oversize: fragment"))
    (child,) = found.engine.connections["c0"].children
    assert (child.df, child.oversize) == (DfPolicy.SET, Oversize.FRAGMENT)
    assert not [w for w in found.warnings if "k0" in w.key]


def test_all_children_of_a_peer_have_df_set_or_none(place: Path) -> None:
    problem = only(place, _text("df: set", "df: copy"))
    assert problem.key.endswith("k1.df") or problem.key.endswith("k1")
    assert "child c0/k0" in problem.cause
    assert "every child of this peer" in problem.cure
    assert loaded(place, _text("df: clear", "df: copy"))


def test_two_connections_to_one_peer_agree_as_well_and_two_peers_need_not(place: Path) -> None:
    same, other = ("192.0.2.2", "192.0.2.2"), ("192.0.2.2", "192.0.2.3")
    assert "child c0/k0" in only(place, _text("df: set", "df: copy", peers=same)).cause
    assert loaded(place, _text("df: set", "df: copy", peers=other))
