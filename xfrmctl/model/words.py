"""Numbers as people read them."""


def duration(seconds: float | None) -> str:
    """``45 s``, ``12 min``, ``3 h 20 min``, ``5 d 2 h``; "-" for None."""
    if seconds is None:
        return "-"
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def size(number: int) -> str:
    """``999 B``, ``1.5 MB``: decimal, as interfaces are counted."""
    if number < 1000:
        return f"{number} B"
    value = float(number)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} PB"


def rate(bits: float) -> str:
    """``0 bit/s``, ``1.5 Mbit/s``: decimal, as links are sold."""
    if bits < 999.5:
        return f"{bits:.0f} bit/s"
    for unit in ("kbit/s", "Mbit/s", "Gbit/s"):
        bits /= 1000
        if bits < 999.95:
            return f"{bits:.1f} {unit}"
    return f"{bits / 1000:.1f} Tbit/s"


def count(number: int) -> str:
    """``999``, ``1.5 k``, ``2.0 M``."""
    if number < 10_000:
        return str(number)
    value = float(number)
    for unit in ("k", "M"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} G"


def plural(number: int, word: str) -> str:
    """``1 connection``, ``2 connections``."""
    return f"{number} {word}" + ("" if number == 1 else "s")
