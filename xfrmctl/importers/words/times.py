"""Durations and numbers as the other daemons spell them."""

import re

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "ms": 0.001}
_BINARY = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50, "EiB": 2**60}
MAX_SECONDS = 10 * 365 * 86400


def seconds(text: str, unit: str = "s") -> int:
    """``90``, ``30s``, ``1.5h``, ``1d``; a bare number has ``unit``. Whole seconds; raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)\s*(ms|s|m|h|d)?", text.strip().lower())
    if match is None:
        raise ValueError("no duration")
    found = int(float(match[1]) * _UNITS[match[2] or unit])
    if found > MAX_SECONDS:
        raise ValueError("longer than ten years")
    return found


def spelled(value: int) -> str:
    """Seconds as our configuration has them: ``4h``, ``51m``, ``3272s``; 0 is ``off``."""
    if not value:
        return "off"
    for unit in ("d", "h", "m"):
        whole, rest = divmod(value, int(_UNITS[unit]))
        if not rest:
            return f"{whole}{unit}"
    return f"{value}s"


def number(text: str) -> int:
    """A whole number, also with 0x; raises ValueError."""
    if not re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,19}", text.strip()):
        raise ValueError("no number")
    return int(text.strip(), 16 if text.strip().lower().startswith("0x") else 10)


def amount(text: str) -> int:
    """``1000000`` or ``10GiB``; of units also strongSwan's k, m, g (binary). Raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,19})\s*([KMGTPE]iB|[kmg]?)", text.strip())
    if match is None:
        raise ValueError("no number of bytes")
    unit = {"k": "KiB", "m": "MiB", "g": "GiB"}.get(match[2], match[2])
    return int(match[1]) * _BINARY[unit]


def yes(text: str) -> bool:
    """``yes``, ``no`` and their kin; raises ValueError."""
    word = text.strip().lower()
    if word in ("yes", "true", "enabled", "enable", "on", "1"):
        return True
    if word in ("no", "false", "disabled", "disable", "off", "0"):
        return False
    raise ValueError("neither yes nor no")
