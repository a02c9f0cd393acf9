"""Where pre-shared keys come from, and who may read them.

A key stands in a file of its own (``!file PATH``, relative to the configuration file) that only its owner can read; or
systemd hands it to us (``!credential NAME``); or, where the configuration file itself is that private, it stands in the
configuration. It is spelled as text, as hex after ``0x``, or as base64 after ``0s`` (the spelling of strongSwan and
libreswan), in either place. One newline at the end of a file is not part of the key. No message ever shows a key.
"""

import base64
import binascii
import os
import stat
from pathlib import Path

from xfrmctl.config import handed
from xfrmctl.config.document import FileReference
from xfrmctl.config.problem import Wrong

MAX_BYTES = 65536
GOOD_BYTES = 16
"""Shorter keys can be guessed offline (RFC 7296 2.15 wants the entropy of the strongest key negotiated)."""


def fetch(secret: str | FileReference, config_file: Path) -> bytes:
    """The key's bytes. Raises Wrong for a file that cannot or must not be used and for bad spelling."""
    if isinstance(secret, FileReference):
        path = config_file.parent / Path(secret.path).expanduser()
        return decode(read_private(path, f"make it: openssl rand -base64 32 | install -m 0600 /dev/stdin {path}"))
    mode = _mode(config_file)
    if mode is not None and mode & 0o077:
        raise Wrong(
            f"a key stands here in clear, and others can read {config_file} (mode {mode:04o})",
            f"chmod 0600 {config_file}, or move the key to a file: psk: !file secrets/NAME.psk",
        )
    return decode(secret.encode())


def decode(text: bytes) -> bytes:
    """Undo the spelling: ``0x`` hex, ``0s`` base64, or the bytes themselves. Raises Wrong."""
    head, rest = text[:2].lower(), text[2:]
    if head == b"0x":
        try:
            found = bytes.fromhex(rest.decode("ascii").strip())
        except ValueError:
            raise Wrong(
                "the key begins with 0x but is no hex", "write an even number of hex digits, or another key"
            ) from None
    elif head == b"0s":
        try:
            found = base64.b64decode(rest.strip(), validate=True)
        except binascii.Error:
            raise Wrong(
                "the key begins with 0s but is no base64", "write base64 with its padding, or another key"
            ) from None
    else:
        found = text
    if not found:
        raise Wrong("the key is empty", "make one: openssl rand -base64 32")
    return found


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None


def read_private(path: Path, make: str) -> bytes:
    """The content of a file that only its owner can read, less one newline at its end.

    ``make`` is the cure where there is none.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        cure = {
            "FileNotFoundError": handed.cure(path) if handed.is_handed(path) else make,
            "PermissionError": f"run as the owner of {path}, or as root",
        }.get(type(error).__name__, "name a readable file")
        raise Wrong(f"cannot read {path}: {error.strerror}", cure) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise Wrong(f"{path} is no ordinary file", "name a file that holds the key")
    with os.fdopen(descriptor, "rb") as stream:
        if status.st_mode & 0o077 and not handed.is_handed(path):
            mode = stat.S_IMODE(status.st_mode)
            raise Wrong(f"others can read {path} (mode {mode:04o})", f"chmod 0600 {path}")
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise Wrong(f"{path} is too long for a key", "make one: openssl rand -base64 32")
    if content.endswith(b"\n"):
        content = content[:-1].removesuffix(b"\r")
    return content
