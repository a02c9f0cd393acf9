"""The unix socket: private from its first moment, and never taken from a daemon that lives."""

import asyncio
import grp
import os
import socket
import stat
import struct
from pathlib import Path

from xfrmctl.model.errors import XfrmctlError

MAX_PATH = 107
"""Bytes that sun_path holds (unix(7))."""


class ListenError(XfrmctlError):
    """The control socket cannot be made; the message says why and what to do."""


def listen(path: Path, group: str | None = None) -> socket.socket:
    """A listening socket at ``path``, mode 0600, or 0660 for ``group``.

    A socket that nobody answers at is replaced. Raises ListenError.
    """
    if len(os.fsencode(path)) > MAX_PATH:
        raise ListenError(f"control socket {path}: longer than {MAX_PATH} bytes; choose a shorter --control")
    group_id = _group_id(group) if group else -1
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_stale(path)
        return _bind(path, group_id)
    except OSError as error:
        raise ListenError(
            f"control socket {path}: {error.strerror}; run as root, or choose another --control"
        ) from None


def peer_uid(transport: asyncio.BaseTransport | None) -> int | None:
    """Who is at the other end of a connection (SO_PEERCRED, unix(7)); None where the kernel does not say."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None:
        return None
    with socket.socket(fileno=os.dup(sock.fileno())) as own:
        credentials = own.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def _group_id(group: str) -> int:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ListenError(
            f"control_group: no group {group!r}; add it (groupadd --system {group}) or take the key out"
        ) from None


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ListenError(f"control socket {path}: something else is there; remove it, or choose another")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except TimeoutError:
            pass
    raise ListenError(
        f"control socket {path}: another daemon answers there; stop it (systemctl stop xfrmctl), "
        "or choose another --control"
    )


def _bind(path: Path, group_id: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        if group_id >= 0:
            os.chown(path, -1, group_id)
            path.chmod(0o660)
        sock.setblocking(False)
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock
