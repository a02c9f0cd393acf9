"""Capture files, and the report over them."""

import struct

import pytest

from tests.unit.lab.test_packets import ipv4
from xfrmctl.lab import pcap
from xfrmctl.lab.capture import report
from xfrmctl.lab.errors import LabError
from xfrmctl.lab.packets import Kind


def capture(*frames: bytes, order: str = "<", magic: int = 0xA1B2C3D4, link: int = 1) -> bytes:
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    return head + b"".join(struct.pack(order + "IIII", 0, 0, len(f), len(f)) + f for f in frames)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_frames_in_both_byte_orders_and_resolutions(order: str, magic: int) -> None:
    assert list(pcap.frames(capture(b"one", b"", b"three", order=order, magic=magic))) == [b"one", b"", b"three"]


def test_a_record_still_being_written_is_left_out() -> None:
    data = capture(b"one", b"two")
    for cut in range(1, 19):
        assert list(pcap.frames(data[:-cut])) == [b"one"]
    assert list(pcap.frames(b"")) == []


def test_other_files_are_refused() -> None:
    with pytest.raises(LabError, match="not a capture file"):
        list(pcap.frames(b"\x0a\x0d\x0d\x0a" + bytes(40)))
    with pytest.raises(LabError, match="link type 113"):
        list(pcap.frames(capture(link=113)))


def test_report_of_a_clean_tunnel() -> None:
    clean = report(capture(ipv4(50, bytes(80)), ipv4(50, bytes(1460), fragment=0x4000), ipv4(1, bytes(8))))
    assert clean.problems() == []
    assert (clean.esp, clean.packets, clean.largest, clean.esp_without_df) == (2, 3, 1480, 1)


def test_report_names_what_is_wrong() -> None:
    leak = report(capture(ipv4(50, bytes(80)), ipv4(6, bytes(20), src="10.1.1.10", dst="10.1.2.10")))
    assert leak.counts[Kind.PLAINTEXT] == 1
    assert leak.problems() == ["1 packets in clear, the first: plaintext 10.1.1.10 > 10.1.2.10 protocol 6, 40 bytes"]
    assert "incomplete: 3 packets" in report(capture(ipv4(50, bytes(80))), dropped=3).problems()[0]
    assert report(capture()).problems() == ["no ESP packet at all"]
