"""What the service manager is told (sd_notify(3)); nothing where there is none."""

import os
import socket


def notify(state: str) -> None:
    """Send one state line, such as ``READY=1``, to the manager that started us."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address)
            sock.send(state.encode())
        except OSError:
            return
