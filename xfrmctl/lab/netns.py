"""Open a socket inside a network namespace without leaving our own.

A socket belongs for ever to the namespace in which it was opened, and a namespace is a property of a thread. So
a thread that exists for nothing else enters the namespace, opens the socket, and ends. (``os.setns`` exists from
Python 3.12 on; until then it is called through libc.)
"""

import ctypes
import os
import socket
import threading
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def open_socket(namespace: Path, family: int, kind: int, protocol: int = 0) -> socket.socket:
    """A socket of the namespace at ``namespace``, usable from any thread."""
    opened: list[socket.socket] = []
    failed: list[OSError] = []

    def enter_and_open() -> None:
        fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if _libc.setns(fd, _CLONE_NEWNET) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), str(namespace))
            opened.append(socket.socket(family, kind, protocol))
        except OSError as error:
            failed.append(error)
        finally:
            os.close(fd)

    thread = threading.Thread(target=enter_and_open, name=f"open-socket-{namespace.name}")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return opened[0]
