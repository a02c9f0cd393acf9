"""What swanctl.conf and strongSwan's ipsec.conf have in common: values of charon, whoever tells it."""

import re

from xfrmctl.importers.dialects.credentials import words
from xfrmctl.importers.dialects.options import Options
from xfrmctl.importers.neutral import Lifetime, Start
from xfrmctl.importers.origin import Told
from xfrmctl.importers.words import times
from xfrmctl.importers.words.selectors import selector

CHILD_REKEY_S = 3600
_ACTIONS: dict[str, Start] = {
    "none": "none",
    "clear": "none",
    "trap": "trap",
    "hold": "trap",
    "route": "trap",
    "start": "start",
    "restart": "start",
    "trap|start": "start",
    "start|trap": "start",
}


CHILDLESS = {"allow": "allow", "force": "force", "prefer": "force", "never": "never"}
"""Whether an IKE SA may come without a child: their words, and ours."""
BOTH = "where nothing is written, strongSwan answers IKEv1 as well; here it is IKEv2 only"
"""Said of connections that do not say which IKE they speak."""


def action(text: str) -> Start:
    """``start_action``, ``close_action``, ``dpd_action``."""
    found = _ACTIONS.get("".join(text.lower().split()))
    if found is None:
        raise ValueError(f"no action that is known; known are {', '.join(_ACTIONS)}")
    return found


def selectors(text: str) -> tuple[str, ...]:
    """A list of traffic selectors."""
    return tuple(selector(word) for word in words(text))


def mark(text: str, same: str = "") -> str:
    """``42``, ``0x2a/0xff``; "" for none. ``%same`` is the value of ``same``. Raises ValueError."""
    text = text.strip().lower()
    if text == "%same":
        return same.partition("/")[0]
    if text.startswith("%") or text == "-1":
        raise ValueError("marks that are made at run time do not exist here")
    value, _, mask = text.partition("/")
    if not re.fullmatch(r"0x[0-9a-f]{1,8}|[0-9]{1,10}", value):
        raise ValueError("no mark")
    number, bits = times.number(value), times.number(mask) if mask else 2**32 - 1
    if max(number, bits) >= 2**32:
        raise ValueError("no mark: more than 32 bits")
    if not number & bits:
        return ""
    return f"{number & bits:#x}" + (f"/{bits:#x}" if mask and bits != 2**32 - 1 else "")


def lifetime(rekey: Told[int], rand: Told[int], usual: int, hard: Told[int] | None = None) -> Lifetime:
    """A lifetime whose random part is written, or what it usually is (``rand`` -1)."""
    jitter = rand.value if rand.setting is not None else usual
    earliest = Told(max(0, rekey.value - jitter), rand.setting) if rekey.value else None
    return Lifetime(rekey=rekey, hard=hard or Told(0), earliest=earliest)


def charon_child_lifetime(options: Options) -> Lifetime:
    """``rekey_time`` and ``life_time``: each of them follows from the other, a tenth apart (vici_config.c)."""
    rekey = options.told("rekey_time", CHILD_REKEY_S, times.seconds)
    hard = options.told("life_time", rekey.value * 110 // 100, times.seconds)
    if hard.setting is not None and rekey.setting is None:
        rekey = Told(hard.value * 10 // 11, hard.setting)
    return lifetime(rekey, options.told("rand_time", -1, times.seconds), max(0, hard.value - rekey.value), hard)
