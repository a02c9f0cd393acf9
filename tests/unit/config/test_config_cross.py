"""What no single value shows: overlaps, twins, missing addresses."""

from pathlib import Path

import pytest

from tests.unit.config.config_files import BASE, loaded, minimal, only, pair
from xfrmctl.config.problem import ConfigError
from xfrmctl.ike.config import Start, Unique


def test_twins(place: Path) -> None:
    other = "local_ts: 10.1.0.0/16, remote_ts: 10.3.0.0/16"
    problem = only(place, pair(BASE, other, remote="192.0.2.2"))
    assert "same addresses and identities as connection 'a'" in problem.cause and problem.line == 7


def test_ipv6_floor(place: Path) -> None:
    connection = "local: {address: 2001:db8::1}\nremote: {address: 2001:db8::2}"
    assert "always carries 1280" in only(place, minimal("mtu: 1200", connection)).cause
    text = minimal("local_ts: fd01::/64\nremote_ts: fd02::/64\nmtu: 1300\nesp: aes256gcm16")
    (warning,) = loaded(place, text).warnings
    assert "leaves 1246 bytes" in warning.cause and "1336" in warning.cure


@pytest.mark.parametrize(
    ("address", "written", "expected"),
    [
        ("", "", Unique.REPLACE),
        ("", "unique: keep", Unique.KEEP),
        ("", "unique: no", Unique.NO),
        ("address: 192.0.2.2, ", "", Unique.NO),
        ("address: 192.0.2.2, ", "unique: replace", Unique.REPLACE),
    ],
)
def test_who_may_come_twice(place: Path, address: str, written: str, expected: Unique) -> None:
    text = minimal("", f"local: {{address: 192.0.2.1}}\nremote: {{{address}id: any}}\n{written}")
    assert loaded(place, text).engine.connections["c"].unique is expected


def test_unique_has_three_words(place: Path) -> None:
    problem = only(place, minimal("", "remote: {id: any}\nunique: never"))
    assert "replace, keep, no" in problem.cure and problem.key == "connections.c.unique"


def test_responder_only(place: Path) -> None:
    found = loaded(place, minimal("", "remote: {id: any}")).engine.connections["c"]
    assert found.remote is None and found.remote_id is None and found.children[0].start == Start.NONE


@pytest.mark.parametrize(("address", "warned"), [("127.0.0.1", 0), ("[::1]", 0), ("192.0.2.1", 1), ("0.0.0.0", 1)])
def test_a_page_for_everybody_is_warned_of(place: Path, address: str, warned: int) -> None:
    found = loaded(place, minimal("", "", f"status_page: '{address}:9880'"))
    assert found.gateway.status_page is not None and found.gateway.status_page.port == 9880
    assert [w.key for w in found.warnings] == ["gateway.status_page"] * warned
    assert all("no password" in w.cause and "ssh -L" in w.cure for w in found.warnings)


def test_a_key_log_has_an_absolute_path(place: Path) -> None:
    assert loaded(place, minimal("", "", "key_log: /run/xfrmctl/keys")).gateway.key_log == Path("/run/xfrmctl/keys")
    assert loaded(place, minimal("", "", "")).gateway.key_log is None
    with pytest.raises(ConfigError, match=r"'keys' is no absolute path; begin it with /, as in /run/xfrmctl/keys"):
        loaded(place, minimal("", "", "key_log: keys"))
