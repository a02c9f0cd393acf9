"""The configuration that the lab kernel needs on top of its architecture's default.

``olddefconfig`` drops a wish silently when one of its dependencies is off, so each wish is compared with
what the final configuration holds; a dropped wish is a named fact, not a surprise in some later test.
"""

from dataclasses import dataclass
from pathlib import Path

FRAGMENT = Path(__file__).with_name("fragment.config")


@dataclass(frozen=True, slots=True)
class Unmet:
    """One wish that the kernel's configuration did not take."""

    option: str
    wanted: str
    got: str

    def __str__(self) -> str:
        return f"{self.option}: wanted {self.wanted}, got {self.got}"


def parse(text: str) -> dict[str, str]:
    """The options of a configuration text; ``# CONFIG_X is not set`` reads as ``n``, like an absent option."""
    options = {}
    for line in text.splitlines():
        if line.startswith("CONFIG_"):
            name, _, value = line.partition("=")
            options[name] = value.strip()
    return options


def unmet(fragment: str, final: str) -> list[Unmet]:
    """Which wishes of ``fragment`` the configuration ``final`` does not fulfil."""
    have = parse(final)
    return [
        Unmet(option, wanted, have.get(option, "n"))
        for option, wanted in parse(fragment).items()
        if have.get(option, "n") != wanted
    ]
