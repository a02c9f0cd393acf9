"""The filter of the event socket, run here as the kernel would run it."""

import struct

import pytest

from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink.filter import only

ALWAYS = (c.XFRM_MSG_ACQUIRE, c.XFRM_MSG_EXPIRE)
OTHERS = (c.XFRM_MSG_DELSA, c.XFRM_MSG_FLUSHSA)
OURS = (4711, 0xFEDCBA98)


def accepts(program: bytes, kind: int, port: int) -> bool:
    """Run a classic BPF program over the header of one message; only the four instructions that we use."""
    header = struct.pack("=IHHII", 16, kind, 0, 0, port)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, if_true, if_false, operand = instructions[at]
        at += 1
        if code == 0x28:
            (accumulator,) = struct.unpack_from("!H", header, operand)
        elif code == 0x20:
            (accumulator,) = struct.unpack_from("!I", header, operand)
        elif code == 0x15:
            at += if_true if accumulator == operand else if_false
        else:
            assert code == 0x06
            return bool(operand > 0)


@pytest.mark.parametrize("ours", [(), OURS[:1], OURS])
def test_what_is_heard(ours: tuple[int, ...]) -> None:
    program = only(ALWAYS, OTHERS, ours)
    for port in (0, 1, 4712, *OURS):
        for kind in ALWAYS:
            assert accepts(program, kind, port)
        for kind in OTHERS:
            assert accepts(program, kind, port) is (port not in ours)
        for kind in (c.XFRM_MSG_NEWSA, c.XFRM_MSG_UPDPOLICY, c.XFRM_MSG_DELPOLICY, 0, 0xFFFF):
            assert not accepts(program, kind, port)
