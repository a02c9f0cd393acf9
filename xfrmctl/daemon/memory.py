"""What is believed of paths, over a restart: one small file in the state directory.

It is a hint and nothing more: a belief that is read back is confirmed by a probe before it counts as confirmed. So a
file that is missing, damaged or from another version costs a search, and is never an error.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path as File

from xfrmctl.model.path import Belief, Confidence, MtuSource, Path
from xfrmctl.pmtu.inputs import Memory

VERSION = 1
NAME = "paths.json"
MAX_BYTES = 16 << 20
MTU_RANGE = range(68, 65536)


def write(directory: File, memories: Iterable[Memory], wall: float) -> None:
    """Write them down, in one step: a crash leaves the old file or the new one. Raises OSError."""
    rows = [
        {
            "local": str(m.path.local),
            "remote": str(m.path.remote),
            "port": m.path.port,
            "mtu": m.belief.size,
            "source": m.belief.source.value,
            "since": round(wall - m.age_s, 3),
        }
        for m in memories
    ]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = directory / f"{NAME}.new"
    fresh.write_text(json.dumps({"version": VERSION, "paths": rows}, indent=1) + "\n")
    fresh.replace(directory / NAME)


def read(directory: File, wall: float) -> list[Memory]:
    """What was written down; nothing where it cannot be read, and never a row that makes no sense."""
    found: list[Memory] = []
    with suppress(OSError, ValueError, TypeError, KeyError):
        file = directory / NAME
        if file.stat().st_size > MAX_BYTES:
            return []
        content = json.loads(file.read_text())
        if content["version"] != VERSION:
            return []
        for row in content["paths"]:
            with suppress(ValueError, TypeError, KeyError):
                found.append(_memory(row, wall))
    return found


def _memory(row: dict[str, object], wall: float) -> Memory:
    size, port, since = row["mtu"], row["port"], row["since"]
    if type(size) is not int or type(port) is not int or not isinstance(since, int | float):
        raise TypeError
    path = Path(ip_address(str(row["local"])), ip_address(str(row["remote"])), port)
    if size not in MTU_RANGE or path.local.version != path.remote.version:
        raise ValueError(size)
    return Memory(path, Belief(size, MtuSource(row["source"]), Confidence.ASSUMED, 0.0), max(0.0, wall - since))
