"""What a scenario runs on a node to send traffic and to look: Python's own library and nothing else.

The command ``probe NODE WORDS…`` of a scenario hands this file's text to ``python3 -c`` on that node, so a node needs
Python and root's rights only. Results are words ``name=value`` on one line. What runs until it is told to end does
so when its standard input ends: no node keeps a process of a scenario that is over.
"""

import contextlib
import json
import os
import select
import socket
import struct
import sys
import time

_PORT = 5300
"""UDP of the stream, TCP of the transfer."""

_CHUNK = bytes(65536)
_SERIAL = struct.Struct("!Q")
_PATIENCE_S = 60.0
"""How long a transfer may stand still before it is given up."""


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def echo(address: str) -> None:
    """Send back each datagram that comes to an address of this node, until standard input ends."""
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        sock.bind((address, _PORT))
        while True:
            ready, _, _ = select.select([sock, sys.stdin], [], [])
            if sys.stdin in ready:
                return
            data, sender = sock.recvfrom(2048)
            with contextlib.suppress(OSError):
                sock.sendto(data, sender)


def stream(address: str, rate_hz: str) -> None:
    """Send numbered datagrams to an ``echo`` until standard input ends; ``gap_ms`` is the longest time without answers.

    It begins to count with the first answer, and says ``begun`` then.
    """
    pause = 1 / float(rate_hz)
    with socket.socket(_family(address), socket.SOCK_DGRAM) as sock:
        sock.connect((address, _PORT))
        answers: set[int] = set()
        while not answers:
            _send(sock, 0)
            if select.select([sys.stdin], [], [], 0.1)[0]:
                return
            answers |= _answers(sock)
        print("begun", flush=True)
        sent, gap, answers = 1, 0.0, set()
        last = due = time.monotonic()
        end = None
        while end is None or (time.monotonic() < end and len(answers) < sent - 1):
            wait = max(0.0, (due if end is None else end) - time.monotonic())
            ready, _, _ = select.select([sock] if end else [sock, sys.stdin], [], [], wait)
            now = time.monotonic()
            if sys.stdin in ready:
                end = now + 2  # for what is still under way
            if new := _answers(sock) - answers - {0}:
                answers |= new
                gap, last = max(gap, now - last), now
            if end is None and now >= due:
                _send(sock, sent)
                sent += 1
                due = max(due + pause, now - 1)
        gap = max(gap, time.monotonic() - last)
    print(f"sent={sent - 1} answered={len(answers)} lost={sent - 1 - len(answers)} gap_ms={gap * 1000:.0f}")


def _send(sock: socket.socket, serial: int) -> None:
    with contextlib.suppress(OSError):  # an ICMP error about an earlier one
        sock.send(_SERIAL.pack(serial).ljust(100, b"."))


def _answers(sock: socket.socket) -> set[int]:
    """The serials that have come back and wait to be read."""
    found = set()
    with contextlib.suppress(OSError):
        while data := sock.recv(2048, socket.MSG_DONTWAIT):
            found.add(_SERIAL.unpack_from(data)[0])
    return found


def sink(address: str) -> None:
    """Take one TCP transfer; ``mss`` is what the SYN offered when it came here, after all clamps."""
    v6 = ":" in address
    with (
        socket.socket(_family(address), socket.SOCK_RAW, socket.IPPROTO_TCP) as ear,
        socket.socket(_family(address)) as door,
    ):
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind((address, _PORT))
        door.listen(1)
        door.settimeout(_PATIENCE_S)
        received = 0
        with contextlib.suppress(OSError):
            connection, _ = door.accept()
            mss = _syn_mss(ear, v6)
            with connection:
                connection.settimeout(_PATIENCE_S)
                while data := connection.recv(1 << 20):
                    received += len(data)
                connection.sendall(b".")
            print(f"received={received} mss={mss}")
            return
    print("received=0 mss=0")


def _syn_mss(ear: socket.socket, v6: bool) -> int:
    """The MSS option of the SYN to our port that the raw socket has heard; 0 if there was none."""
    ear.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while segment := ear.recv(2048):
            segment = segment if v6 else segment[(segment[0] & 0x0F) * 4 :]  # without the IP header
            port, flags = struct.unpack_from("!H", segment, 2)[0], segment[13]
            options = segment[20 : (segment[12] >> 4) * 4]
            if port == _PORT and flags & 0x12 == 0x02 and options[:2] == b"\x02\x04":  # Linux begins with the MSS
                return int.from_bytes(options[2:4], "big")
    return 0


def source(address: str, size: str, seconds: str) -> None:
    """Send so many bytes to a ``sink``, in at most so many seconds; ``arrived`` is 1 when the sink has had them all."""
    left, began = int(size), time.monotonic()
    deadline = began + float(seconds)
    arrived = 0
    try:
        with _connected(address, deadline) as sock:
            while left:
                sock.settimeout(max(0.1, deadline - time.monotonic()))
                left -= sock.send(_CHUNK[:left])
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(max(0.1, deadline - time.monotonic()))
            arrived = len(sock.recv(1))
    except OSError as error:
        print(f"# {error}", file=sys.stderr)
    print(f"arrived={arrived} unsent={left} seconds={time.monotonic() - began:.1f}")


def _connected(address: str, deadline: float) -> socket.socket:
    """A connection to the sink, which may not be there yet. Raises OSError after the deadline."""
    while True:
        sock = socket.socket(_family(address))
        sock.settimeout(max(0.1, deadline - time.monotonic()))
        try:
            sock.connect((address, _PORT))
            return sock
        except ConnectionRefusedError:
            sock.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def forge(source_address: str, destination: str, mtu: str) -> None:
    """Tell ``source_address`` in a made-up ICMP error that ESP to ``destination`` must not be larger than ``mtu``.

    RFC 792, RFC 1191 4: type 3 code 4, next-hop MTU, and the head of a packet that was never sent.
    """
    ends = socket.inet_aton(source_address) + socket.inet_aton(destination)
    quoted = struct.pack("!BBHHHBBH", 0x45, 0, 1400, 1, 0x4000, 60, socket.IPPROTO_ESP, 0) + ends
    quoted += struct.pack("!II", 0xC0FFEE00, 1)  # an SPI that nobody has
    head = struct.pack("!BBHHH", 3, 4, 0, 0, int(mtu))
    error = head[:2] + struct.pack("!H", _checksum(head + quoted)) + head[4:] + quoted
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        for _ in range(5):
            sock.sendto(error, (source_address, 0))


def _checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def state(name: str) -> None:
    """One connection of this gateway, as its control API tells it; ``state=none`` where no daemon answers."""
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(30)
            sock.connect(os.environ.get("XFRMCTL_CONTROL", "/run/xfrmctl/control.sock"))
            sock.sendall(b"GET /v1/status HTTP/1.0\r\n\r\n")
            while data := sock.recv(65536):
                answer += data
        status = json.loads(answer.partition(b"\r\n\r\n")[2])
    except (OSError, ValueError):
        print("state=none")
        return
    found = next((one for one in status.get("connections", []) if one["name"] == name), None)
    if found is None:
        print("state=unknown")
        return
    words = {"state": found["state"], "ike_sas": len(found["ike_sas"])}
    for ike in found["ike_sas"]:
        words |= {"local": ike["local"], "remote": ike["remote"], "ike_spi": ike["spi_initiator"]}
        for child in ike["children"]:
            words |= {"spi": child["outbound"]["spi"], "encap": "yes" if child["encap"] else "no"}
            for key, value in (child["mtu"] or {}).items():
                if isinstance(value, str | int):
                    words[key] = value
    print(" ".join(f"{key}={value}" for key, value in words.items()))


if __name__ == "__main__":
    {each.__name__: each for each in (echo, stream, sink, source, forge, state)}[sys.argv[1]](*sys.argv[2:])
