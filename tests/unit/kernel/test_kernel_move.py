"""What a moved SA is made of: everything as the kernel told it, except addresses, ports and the next number to send."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from tests.unit.kernel.kernel_values import A6, B6, CBC, CBC_KEYS, GCM, GCM_KEYS, A, B, sa
from xfrmctl.kernel.fake import FakeKernel
from xfrmctl.kernel.fake_sad import Misuse
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import structs as s
from xfrmctl.kernel.netlink.move import OSEQ_MARGIN, get_sa, requests
from xfrmctl.kernel.netlink.sa import delete_sa, new_sa
from xfrmctl.model.iana import Encr, ProtocolId
from xfrmctl.model.sa import Direction, Encap, KernelSa, SaKeys, SaMove
from xfrmctl.model.suite import Suite

ENCAP, ELSEWHERE, ELSEWHERE6 = Encap(4500, 4500), ip_address("172.16.9.9"), ip_address("fd16:9::9")
ESN = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 128, esn=True)
COUNTED = bytes(range(32))


def shown(held: KernelSa, keys: SaKeys, extra: bytes = b"") -> memoryview:
    """What XFRM_MSG_GETSA says of an SA that has been used."""
    payload = bytearray(new_sa(held, keys).payload)
    payload[160:192] = COUNTED
    payload[204:208] = b"\7\0\0\0"
    return memoryview(bytes(payload) + extra + s.attribute(c.XFRMA_LASTUSED, bytes(8)))


def move(held: KernelSa, **changes: object) -> SaMove:
    fields = {"id": held.id, "direction": held.direction, "source": held.source, "destination": held.destination}
    return SaMove(**({**fields, "encap": held.encap} | changes))  # type: ignore[arg-type]


def attributes(payload: bytes) -> dict[int, bytes]:
    return {kind: bytes(value) for kind, value in s.attributes(memoryview(payload), s.USERSA_INFO.size)}


@pytest.mark.parametrize(("suite", "keys"), [(GCM, GCM_KEYS), (CBC, CBC_KEYS), (ESN, GCM_KEYS)], ids=str)
@pytest.mark.parametrize("direction", [Direction.IN, Direction.OUT])
def test_ports_alone_are_an_update_of_the_sa_that_stands(suite: Suite, keys: SaKeys, direction: Direction) -> None:
    held = sa(suite=suite, encap=ENCAP, direction=direction)
    state = s.attribute(c.XFRMA_REPLAY_VAL, bytes(range(12)))
    (update,) = requests(shown(held, keys, state), move(held, encap=Encap(4500, 1234)))
    wanted = new_sa(replace(held, encap=Encap(4500, 1234)), keys).payload
    assert update.type == c.XFRM_MSG_UPDSA
    assert update.payload[:160] == wanted[:160]
    assert attributes(update.payload) == attributes(wanted) | {c.XFRMA_REPLAY_VAL: bytes(range(12))}
    assert update.payload[204:208] == bytes(4)


@pytest.mark.parametrize(("held", "there"), [(sa(encap=ENCAP), ELSEWHERE), (sa(source=A6, destination=B6), ELSEWHERE6)])
def test_a_new_destination_begins_further_on_before_the_old_one_goes(held: KernelSa, there: object) -> None:
    state = s.attribute(c.XFRMA_REPLAY_VAL, (77).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"bits")
    new, old = requests(shown(held, GCM_KEYS, state), move(held, destination=there))
    wanted = attributes(new_sa(replace(held, destination=there), GCM_KEYS).payload)  # type: ignore[arg-type]
    assert (new.type, old) == (c.XFRM_MSG_NEWSA, delete_sa(held.id))
    replay = (77 + OSEQ_MARGIN).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"bits"
    assert attributes(new.payload) == wanted | {c.XFRMA_REPLAY_VAL: replay, c.XFRMA_LTIME_VAL: COUNTED}


def test_extended_sequence_numbers_carry_over() -> None:
    held = sa(suite=ESN, encap=ENCAP)
    payload = bytearray(shown(held, GCM_KEYS))
    at = payload.index(s.NLATTR.pack(s.ATTR_REPLAY_ESN.size, c.XFRMA_REPLAY_ESN_VAL)) + 4
    payload[at + 4 : at + 8] = (0xFFFFFFF0).to_bytes(4, "little")
    payload[at + 12 : at + 16] = (6).to_bytes(4, "little")
    new, _ = requests(memoryview(payload), move(held, destination=ELSEWHERE))
    value = attributes(new.payload)[c.XFRMA_REPLAY_ESN_VAL]
    oseq, oseq_hi = (int.from_bytes(value[n : n + 4], "little") for n in (4, 12))
    assert oseq_hi << 32 | oseq == (6 << 32 | 0xFFFFFFF0) + OSEQ_MARGIN


def test_sequence_numbers_do_not_wrap() -> None:
    held = sa(encap=ENCAP)
    state = s.attribute(c.XFRMA_REPLAY_VAL, b"\xf0\xff\xff\xff" + bytes(8))
    new, _ = requests(shown(held, GCM_KEYS, state), move(held, destination=ELSEWHERE))
    assert attributes(new.payload)[c.XFRMA_REPLAY_VAL][:4] == b"\xff\xff\xff\xff"


def test_a_new_source_of_an_inbound_sa_takes_the_old_one_s_name() -> None:
    held = sa(source=B, destination=A, direction=Direction.IN, encap=ENCAP)
    state = s.attribute(c.XFRMA_REPLAY_VAL, bytes(range(12)))
    old, new = requests(shown(held, GCM_KEYS, state), move(held, source=ELSEWHERE))
    assert (old, new.type) == (delete_sa(held.id), c.XFRM_MSG_NEWSA)
    assert attributes(new.payload)[c.XFRMA_REPLAY_VAL] == bytes(range(12))
    assert new.payload[80:84] == ELSEWHERE.packed
    assert get_sa(held.id).payload == delete_sa(held.id).payload


def test_the_fake_moves_as_well() -> None:
    kernel, held = FakeKernel(), sa(encap=ENCAP)
    kernel.install([(held, GCM_KEYS)])
    kernel.count(held.id, packets=2, size=100)
    there = move(held, destination=ELSEWHERE, encap=Encap(4500, 9))
    kernel.move([there])
    kernel.move([there])  # gone from there already: no failure
    assert list(kernel.sas) == list(kernel.dump()) == [there.new_id]
    assert kernel.dump()[there.new_id].packets == 2
    assert kernel.sas[there.new_id].encap == Encap(4500, 9)
    kernel.delete([there.new_id])
    with pytest.raises(Misuse):
        kernel.move([move(sa(0x1002))])
