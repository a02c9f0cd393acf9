"""What is said to somebody who has mistyped a verb or a value: the right word, also where another product has it."""

import re
from collections.abc import Iterable

import typer

from xfrmctl.model.nearest import advice, nearest

ELSEWHERE = {
    "apply": "reload",
    "close": "down",
    "config": "check",
    "connect": "up",
    "diff": "plan",
    "disconnect": "down",
    "doctor": "diagnose",
    "flush": "cleanup",
    "initiate": "up",
    "list": "show",
    "list-conns": "show",
    "list-sas": "show",
    "load": "reload",
    "load-all": "reload",
    "log": "events",
    "logs": "events",
    "ls": "show",
    "monitor": "events",
    "mss": "mtu",
    "packet-tracer": "explain",
    "pcap": "trace",
    "ping": "diagnose",
    "purge": "cleanup",
    "route": "explain",
    "run": "daemon",
    "sas": "show",
    "serve": "daemon",
    "start": "up",
    "status": "show",
    "statusall": "show",
    "stop": "down",
    "terminate": "down",
    "test": "check",
    "troubleshoot": "diagnose",
    "update": "reload",
    "validate": "check",
    "verify": "check",
    "watch": "events",
}
"""Words of other IPsec tools, of init systems and of habit, and the verb that does it here."""

_CHOICE = re.compile(r"(?:Value error, )?'([^']*)' is not one of (.+?)\.?")


def no_verb(word: str, verbs: Iterable[str]) -> str:
    """What to say where ``word`` is no verb."""
    if word == "help":
        return "it is `xfrmctl --help`, and `xfrmctl VERB --help` for one verb"
    if word == "version":
        return "it is `xfrmctl --version`"
    known = list(verbs)
    plain = word.lower().lstrip("-")
    if plain not in known and plain in ELSEWHERE:
        return f"no verb {word!r}; here it is `xfrmctl {ELSEWHERE[plain]}`"
    near = nearest(word, known, 0.6)
    if near is None:
        near = next((verb for verb in known if plain and verb.startswith(plain)), None)
    hint = f"did you mean `xfrmctl {near}`?" if near else f"the verbs are: {', '.join(known)}"
    return f"no verb {word!r}; {hint}"


def improve(error: typer.BadParameter) -> None:
    """Add the nearest right word to a complaint about one of several words."""
    found = _CHOICE.fullmatch(error.message)
    if found is not None:
        words = [word.strip("' ") for word in found[2].split(",")]
        near = advice(found[1], words)
        listed = ", ".join(words)
        error.message = f"{found[1]!r} is not one of: {listed}" + (f"; {near}" if near.startswith("did") else "")
