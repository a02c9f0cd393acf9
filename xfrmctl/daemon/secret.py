"""The secret that makes the tokens of quick crash detection, kept over restarts and crashes (RFC 6290 5.1).

It is made at the first start, as a file that only its owner can read. One that is not that private any more is not a
secret any more: it is replaced. Where it cannot be kept we go on without one that lasts, and say so.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from xfrmctl.crypto.qcd import SECRET_LEN

NAME = "qcd.secret"


def kept(directory: Path, entropy: Callable[[int], bytes], warn: Callable[[str], None]) -> bytes:
    """The secret of this gateway, from ``directory`` or made anew; ``warn`` is told what an operator should know."""
    path = directory / NAME
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        warn(f"{path}: {error}; a new one is made, so that peers notice a crash before this start only by silence")
    secret = entropy(SECRET_LEN)
    try:
        _write(path, secret)
    except OSError as error:
        warn(f"{path}: {error.strerror}; after a crash peers will notice only by silence. Make {directory} writable")
    return secret


def _read(path: Path) -> bytes:
    """The secret. Raises FileNotFoundError, OSError, or ValueError for a file that cannot be it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise ValueError(f"others than its owner could read it (mode {stat.S_IMODE(found.st_mode):04o})")
        secret = file.read(SECRET_LEN + 1)
    if len(secret) != SECRET_LEN:
        raise ValueError(f"it has not the {SECRET_LEN} bytes that it should have")
    return secret


def _write(path: Path, secret: bytes) -> None:
    """Whole or not at all, and on the disk when this returns. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(descriptor)
    draft.replace(path)
