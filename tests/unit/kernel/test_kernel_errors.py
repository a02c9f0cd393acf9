"""The gateway's own path-MTU errors: rules as text, both ways, and who is said to drop them."""

from ipaddress import ip_address

import pytest

from xfrmctl.kernel.firewall import clamp, errors, guard, told
from xfrmctl.kernel.firewall.errors import Standing
from xfrmctl.kernel.firewall.told import ErrorWatch

LAN = ip_address("10.1.1.1"), ip_address("10.1.1.10")


def saved(family: int, made: int = 0, left: int = 0) -> str:
    """What iptables-save would say of the rules, the operator's among them."""
    text = errors.restore_text(family, Standing()).replace("-I ", "-A ").replace("COMMIT\n", "")
    lines = ["[9:9] -A OUTPUT -j ACCEPT"]
    for line in text.splitlines():
        counter = 0 if "comment" in line or " -j " in line else made if "TELL" in line else left
        lines.append(f"[{counter}:1] {line}" if line.startswith("-A") else line)
    return "\n".join([*lines, "COMMIT", ""])


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_written_is_what_is_read(family: int) -> None:
    have = errors.parse_save(saved(family, made=7, left=5))
    assert errors.stands(family, have) and (have.made, have.left) == (7, 5)
    assert errors.restore_text(family, have) == ""
    gone = errors.remove_text(have).splitlines()
    assert [line.split()[0] for line in gone] == ["*mangle", "-D", "-D", "-F", "-F", "-X", "-X", "COMMIT"]
    assert errors.remove_text(Standing()) == ""
    assert ("--hashlimit-dstmask 64" in errors.restore_text(family, Standing())) is (family == 6)


@pytest.mark.parametrize("lost", ["-A OUTPUT -p icmp", "-A POSTROUTING", "-A XFRMCTL-TOLD", "-A XFRMCTL-TELL"])
def test_a_damage_is_mended_as_a_whole(lost: str) -> None:
    text = "\n".join(line for line in saved(4).splitlines() if lost not in line)
    have = errors.parse_save(text)
    assert not errors.stands(4, have)
    written = errors.restore_text(4, have).splitlines()
    assert sum(line.startswith("-D") for line in written) == len(have.jumps)
    assert sum(line.startswith("-A XFRMCTL") for line in written) == 3


def test_others_look_past_them() -> None:
    """Neither the clamp nor the guard takes these rules for somebody's in its way, or for its own."""
    assert clamp.parse_save(saved(4)).lines == [] and not guard.parse_save(saved(4)).lines


SAVE = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT {policy} [0:0]
{rule}
COMMIT
"""


@pytest.mark.parametrize(
    ("policy", "rule", "said"),
    [
        (
            "DROP",
            "-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
            "It is the policy of OUTPUT in the table filter",
        ),
        ("ACCEPT", "-A OUTPUT -p icmp -j REJECT", "It is the rule [-A OUTPUT -p icmp -j REJECT] in the table filter"),
        ("ACCEPT", "-A OUTPUT -o lan -j DROP", "It is the rule [-A OUTPUT -o lan -j DROP] in the table filter"),
        ("DROP", "-A OUTPUT -m conntrack --ctstate RELATED -j ACCEPT", "No rule of iptables does it"),
        ("ACCEPT", "-A OUTPUT -o wan -j DROP", "No rule of iptables does it"),
        ("nonsense [", "nonsense", "No rule of iptables does it"),
    ],
)
def test_the_rule_that_drops_them_is_named(policy: str, rule: str, said: str) -> None:
    assert errors.culprit(SAVE.format(policy=policy, rule=rule), 4, LAN, "lan").startswith(said)
    assert errors.culprit("", 4, None, "").startswith("No rule of iptables does it")


def test_it_is_said_until_some_have_left_again(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"made": 0, "left": 0}
    written: list[str] = []

    class Fake:
        def __init__(self, family: int, variant: str = "") -> None:
            self.family = family

        def available(self) -> bool:
            return self.family == 4

        def restore(self, text: str) -> None:
            written.append(text)

        def everything(self) -> str:
            return SAVE.format(policy="DROP", rule="")

    monkeypatch.setattr(told, "Tables", Fake)
    watch = ErrorWatch()
    ways = {4: (LAN, "lan"), 6: (None, "")}

    def look(made: int, left: int, standing: bool = True) -> list[str]:
        counts["made"] += made
        counts["left"] += left
        text = saved(4, **counts) if standing else ""
        watch.read({4: text, 6: ""})
        return watch.watch(ways)

    assert look(0, 0, standing=False) == []
    assert len(written) == 1 and ":XFRMCTL-TELL" in written[0], "where there is no iptables nothing is tried"
    assert look(3, 3) == []
    (said,) = look(4, 1)
    assert "3 of 4 since the last look" in said and "the policy of OUTPUT" in said
    assert look(0, 0) == [said]
    assert look(5, 5) == []
    look(2, 0)
    watch.read({4: saved(4)})
    assert watch.watch({}) == [] and "-X XFRMCTL-TELL" in written[-1]
