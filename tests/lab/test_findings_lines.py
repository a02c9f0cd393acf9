"""What `xfrmctl diagnose` tells an operator of strongSwan or libreswan to write is what charon and pluto take."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.diagnose.examples import every_line
from xfrmctl.diagnose import lines as places
from xfrmctl.lab.peers.libreswan import Libreswan
from xfrmctl.lab.peers.peer import unpacked
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.topology import OUTER_A, OUTER_B, Topology
from xfrmctl.model.finding import Line

pytestmark = pytest.mark.lab

STRONGSWAN_DEFAULTS = Path("/etc/strongswan.d")


def lines_of(product: str, place: str) -> list[str]:
    """All texts that go to places that match, each once."""
    texts = dict.fromkeys((ln.place, _filled(ln)) for _, ln in every_line() if ln.product == product)
    return [f"{where}\n{text}" for where, text in texts if re.fullmatch(place, where)]


def _filled(line: Line) -> str:
    return line.text.replace("ITS-OWN-NETWORK", "10.9.0.0/24")


@pytest.fixture(scope="module")
def charon() -> Iterator[StrongSwan]:
    with Topology() as topology, StrongSwan(topology.ns("gb"), []) as made:
        yield made


@pytest.fixture(scope="module")
def pluto() -> Iterator[Libreswan]:
    with Topology() as topology:
        made = Libreswan(topology.ns("gb"))
        made.start()
        yield made
        made.stop()


def sections(place: str, text: str) -> str:
    """The text in its sections."""
    *outer, inner = place.split(".")
    opened = "".join(f"{name} {{\n" for name in (*outer, inner))
    return f"{opened}{text}\n" + "}\n" * (len(outer) + 1)


def test_charon_takes_every_line(charon: StrongSwan) -> None:
    """It refuses a connection with an option that it does not know."""
    texts = lines_of(places.STRONGSWAN, r"connections\..*")
    assert len(texts) >= 10
    parts = []
    for number, text in enumerate(texts):
        place, _, body = text.partition("\n")
        body = "\n".join(line for line in body.split("\n") if not line.startswith("certs = "))  # there is no such file
        parts.append(sections(place.replace("NAME", f"n{number}", 1).replace("NAME", "net"), f"{body}\n"))
        parts.append(sections(f"connections.n{number}", f"version = 2\nlocal_addrs = {OUTER_B[0]}"))
    charon.configure("".join(parts))
    said = charon.swanctl("--load-conns", check=False)
    assert f"successfully loaded {len(texts)} connections" in said, said


def test_charon_takes_every_secret(charon: StrongSwan) -> None:
    texts = [text.partition("\n") for text in lines_of(places.STRONGSWAN, r"secrets\..*")]
    charon.configure("".join(sections(place.replace("NAME", str(n)), body) for n, (place, _, body) in enumerate(texts)))
    said = charon.swanctl("--load-creds", "--noprompt", check=False)
    assert texts and all(f"loaded ike secret 'ike-{n}'" in said for n in range(len(texts))), said


def test_strongswan_conf_has_every_option() -> None:
    """The package's own files name each option with its default."""
    for text in lines_of(places.STRONGSWAN, r"strongswan\.conf: .*"):
        place, _, body = text.partition("\n")
        *_, name = place.partition(": ")[2].split(".")
        known = [p for p in STRONGSWAN_DEFAULTS.rglob("*.conf") if p.stem.removesuffix("-systemd") in (name, "charon")]
        listed = (
            "".join(p.read_text() for p in known)
            + subprocess.run(
                ["zcat", "-f", "/usr/share/man/man5/strongswan.conf.5.gz"], capture_output=True, text=True, check=False
            ).stdout
        )
        for option in body.split("\n"):
            assert option.partition(" = ")[0] in listed, option


def test_swanctl_has_every_command(charon: StrongSwan) -> None:
    known = charon.swanctl("--help", check=False)
    asked = re.findall(r"swanctl (--[\w-]+)|; (--[\w-]+)", "\n".join(lines_of(places.STRONGSWAN, "")))
    assert asked and all(f"{one or other} " in known for one, other in asked), (asked, known)


def test_pluto_takes_every_line(pluto: Libreswan) -> None:
    texts = lines_of(places.LIBRESWAN, f"{places.CONN}|{places.CONN6}")
    assert len(texts) >= 10
    for number, text in enumerate(texts):
        own = [line for line in text.split("\n")[1:] if not line.startswith("leftcert=")]  # it is in no database here
        usual = {"left": OUTER_B[0], "right": OUTER_A[0], "authby": "secret", "auto": "add", "ikev2": "insist"}
        keys = {line.partition("=")[0] for line in own}
        options = [*(f"{key}={value}" for key, value in usual.items() if key not in keys), *own]
        pluto.add(f"n{number}", f"conn n{number}\n" + "".join(f"\t{option}\n" for option in options))


def test_pluto_takes_every_secret(pluto: Libreswan) -> None:
    texts = [text.partition("\n")[2] for text in lines_of(places.LIBRESWAN, re.escape(places.SECRETS))]
    before = len(pluto.log_text())
    pluto.secrets("".join(f"{text}\n" for text in texts))
    said = pluto.log_text()[before:]
    assert texts and "loading secrets from" in said and "error" not in said.lower(), said


def test_libreswan_has_every_command() -> None:
    root = unpacked("libreswan") / "usr"
    script, folder = (root / "sbin/ipsec").read_text(), root / "libexec/ipsec"
    asked = re.findall(r"ipsec (\w+)", "\n".join(lines_of(places.LIBRESWAN, "")))
    for command in asked:
        assert (folder / command).exists() or re.search(rf"^\s*(\w+\s*\|\s*)*{command}\b.*\)", script, re.M), command
