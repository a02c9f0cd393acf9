"""Every finding has evidence, a cause and a cure for both ends, in lines that can be typed as they are."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.diagnose.examples import FACTS, every_line, found
from xfrmctl.cli.main import app
from xfrmctl.config.load import load
from xfrmctl.diagnose import lines as places
from xfrmctl.diagnose.catalogue import CATALOGUE
from xfrmctl.model.finding import PEER, Finding, Line

EVERY = every_line()
PRODUCTS = {places.XFRMCTL, places.SHELL, places.STRONGSWAN, places.LIBRESWAN, places.CISCO}


def of(product: str, *, written: bool) -> list[Any]:
    """The lines of a product, those for its configuration or its commands."""
    found = [(name, line) for name, line in EVERY if line.product == product and bool(line.place) is written]
    return [pytest.param(line, id=f"{name}: {line.text.partition(chr(10))[0]}") for name, line in found]


def test_every_finding_has_its_example() -> None:
    assert list(FACTS) == list(CATALOGUE)


@pytest.mark.parametrize("name", FACTS)
def test_a_finding_is_complete(name: str) -> None:
    (finding,) = found(name)
    assert finding.id == name
    assert finding.symptom and finding.evidence and all(finding.evidence) and finding.cause
    assert finding.cure_here and finding.cure_peer
    assert {line.product for line in finding.lines} <= PRODUCTS
    assert all(line.text and not re.search(r"  \(|…| / ", line.text) for line in finding.lines), finding.lines


THEIRS = {name for name in FACTS for finding in found(name) if not finding.cure_peer.startswith("nothing")}


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_a_peer_that_has_something_to_do_is_told_how(name: str) -> None:
    """Whatever product it is; where strongSwan and libreswan are as any Linux, the line is for the shell."""
    (finding,) = found(name)
    products = {line.product for line in finding.lines if line.end == PEER}
    linux = places.SHELL in products
    for product in (places.XFRMCTL, places.STRONGSWAN, places.LIBRESWAN):
        assert linux or product in products, (product, finding.lines)
    assert places.CISCO in products or name in NOT_OF_CISCO, finding.lines


NOT_OF_CISCO = {"selectors-taken"}
"""Its networks are what its access list says: there is no line that is right for every IOS."""


def configured(line: Line) -> dict[str, Any]:
    """A configuration with this line in its place."""
    child: dict[str, Any] = {"local_ts": ["10.1.1.0/24"], "remote_ts": ["10.1.2.0/24"]}
    connection: dict[str, Any] = {
        "local": {"address": "172.16.1.1", "id": "fqdn:moon.example.org"},
        "remote": {"address": "172.16.2.1", "id": "fqdn:sun.example.org"},
        "auth": {"psk": "a key for the tests of lines"},
    }
    text = line.text.replace("!file secrets/FILE", '"a key for the tests of lines"')
    text = text.replace("ITS-OWN-NETWORK", "10.1.1.0/24")
    for key, value in yaml.safe_load(text).items():
        section, old = (child, {}) if ".children." in line.place else (connection, connection.get(key, {}))
        section[key] = {**old, **value} if isinstance(value, dict) and key != "auth" else value
    if "mode" in child:  # between the gateways themselves
        child = {"mode": child["mode"]}
    return {"connections": {"main": {**connection, "children": {"lan": child}}}}


@pytest.mark.parametrize("line", of(places.XFRMCTL, written=True))
def test_our_own_lines_are_taken(line: Line, tmp_path: Path) -> None:
    assert re.fullmatch(r"connections\.\w+(\.children\.\w+)?", line.place)
    file = tmp_path / "xfrmctl.yaml"
    if "dn:" in line.text:  # is that of a certificate, which is not there either
        return
    if "certificate:" in line.text:
        assert line.text == "auth: {certificate: FILE.pem, key: FILE.key, ca: CA.pem}"  # which are not there
        return
    file.write_text(yaml.safe_dump(configured(line)))
    file.chmod(0o600)
    assert load(file).engine.connections


@pytest.mark.parametrize("line", of(places.XFRMCTL, written=False))
def test_our_own_commands_are_there(line: Line) -> None:
    verbs = {info.name or (info.callback.__name__ if info.callback else "") for info in app.registered_commands}
    for command in line.text.split(" && "):
        words = shlex.split(command)
        assert words[0] == "systemctl" or (words[0] == "xfrmctl" and words[1] in verbs), command


@pytest.mark.parametrize("line", of(places.SHELL, written=False))
def test_commands_are_words_that_a_shell_takes(line: Line) -> None:
    done = subprocess.run(["sh", "-n", "-c", line.text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CISCO = re.compile(
    "|".join(
        (
            r"crypto ikev2 proposal \w+", r" encryption aes-(cbc|gcm)-(128|256)", r" integrity sha(256|384|512)",
            r" prf sha(256|384|512)", r" group (14|15|16|19|20|21)",
            r"crypto ipsec transform-set T( (esp-gcm|esp-aes) (128|256))?( (esp|ah)-sha\d+-hmac)?", r" esn",
            r" mode (tunnel|transport require)", r"crypto map M 10 ipsec-isakmp", r" set transform-set T",
            r" set pfs group(14|15|16|19|20|21)", r"crypto ikev2 profile P", r"crypto ikev2 keyring K", r" peer \w+",
            r"  identity (fqdn|email|key-id|address) \S+", r"  pre-shared-key \S+",
            r" match identity remote (fqdn|email|key-id) \S+", r" identity local (fqdn|email|key-id|address) \S+",
            r" match identity remote address (\S+ 255\.255\.255\.255|\S+/128)", r" identity local dn",
            r" initial-contact force", r" authentication local rsa-sig", r" pki trustpoint T sign",
            r"ip access-list extended \w+", r"ipv6 access-list \w+",
            r"( \d+)? (permit|deny) ip \S+ \S+ \S+ \S+", r"( \d+)? permit ipv6 \S+/\d+ \S+/\d+",
            r" \d+ permit udp any any eq (isakmp|non500-isakmp)", r" \d+ permit (esp|ahp) any any",
            r"interface \w+", r" crypto map M", r" (no )?ip mtu( \d+)?", r" ip tcp adjust-mss \d+",
            r" tunnel path-mtu-discovery", r" ip(v6)? unreachables", r"ip route \S+ 255\.255\.255\.255 GATEWAY",
            r"crypto ikev2 fragmentation mtu \d+", r"crypto ipsec security-association replay window-size 1024",
            r"crypto ipsec security-association lifetime kilobytes \d+", r"ntp server \S+",
        )
    )
)  # fmt: skip
"""Lines of an IOS configuration, checked against Cisco's command references by hand; a new one is added here then."""


@pytest.mark.parametrize("line", of(places.CISCO, written=True))
def test_lines_of_ios_are_known_ones(line: Line) -> None:
    assert line.place == places.CONFIGURE
    for one in line.text.split("\n"):
        assert CISCO.fullmatch(one), one


def test_what_the_page_shows_has_its_place() -> None:
    finding: Finding = found("late-drops")[0]
    assert "strongSwan, connections.NAME.children.NAME" in {line.where for line in finding.lines}
    assert "libreswan, conn NAME" in {line.where for line in finding.lines}
