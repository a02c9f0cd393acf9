"""A filter for a multicast socket, run by the kernel: which notifications wake us up.

Every SA and policy that we ourselves put or delete is notified to the groups, too. A gateway that installs a thousand
SAs a second must not read each of them a second time, so a classic BPF program lets through only what we want to hear:
messages of some types always, those of other types only if somebody else caused them (``nlmsg_pid`` is what the
request had there: we write our port id, others theirs or 0).
"""

import ctypes
import socket
import struct
from collections.abc import Sequence

SO_ATTACH_FILTER = 26

_INSTRUCTION = struct.Struct("=HBBI")
"""``struct sock_filter``: code, jump if true, jump if false, operand."""

_LOAD_HALF, _LOAD_WORD, _IF_EQUAL, _RETURN = 0x28, 0x20, 0x15, 0x06
_TYPE_AT, _PID_AT = 4, 12
"""Offsets in ``struct nlmsghdr``. BPF loads big-endian, and netlink's header is in the host's order."""

_ALL, _NOTHING = 0x40000, 0


def only(always: Sequence[int], of_others: Sequence[int], ours: Sequence[int]) -> bytes:
    """A program that accepts types ``always``, and types ``of_others`` unless a port of ``ours`` is the cause."""
    tests = [(kind, True) for kind in always] + [(kind, False) for kind in of_others]
    nothing = 1 + len(tests)
    check, accept = nothing + 1, nothing + 2 + len(ours)
    drop = accept + 1
    program = [(_LOAD_HALF, 0, 0, _TYPE_AT)]
    for at, (kind, at_once) in enumerate(tests, 1):
        target = accept if at_once else check
        program.append((_IF_EQUAL, target - at - 1, 0, socket.htons(kind)))
    program.append((_RETURN, 0, 0, _NOTHING))
    program.append((_LOAD_WORD, 0, 0, _PID_AT))
    for at, port in enumerate(ours, check + 1):
        program.append((_IF_EQUAL, drop - at - 1, 0, socket.htonl(port)))
    program += [(_RETURN, 0, 0, _ALL), (_RETURN, 0, 0, _NOTHING)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def attach(sock: socket.socket, program: bytes) -> None:
    """Put a program on a socket. Raises OSError."""
    memory = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("@HP", len(program) // _INSTRUCTION.size, ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
