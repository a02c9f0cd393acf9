"""The precompiled layouts and pyroute2's message tables give the same bytes; rules of the kernel hold."""

import struct
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from tests.unit.kernel.kernel_values import A6, B6, CBC, CBC_KEYS, CHACHA, CHACHA_KEYS, GCM, GCM_KEYS, A, B, child, sa
from xfrmctl.kernel.desired import Action, Policy, PolicyKey, Route, XfrmInterface
from xfrmctl.kernel.events import Mapping
from xfrmctl.kernel.netlink import constants as c
from xfrmctl.kernel.netlink import link, route, structs, tables
from xfrmctl.kernel.netlink.notifications import event_from
from xfrmctl.kernel.netlink.policy import delete_policy, policies_from, policy_from, put_policy
from xfrmctl.kernel.netlink.sa import delete_sa, new_sa
from xfrmctl.kernel.ownership import if_id_for, index_for, reqid_for
from xfrmctl.model.address import Endpoint
from xfrmctl.model.flow import port
from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.plane import Mark, Offload, PlaneOptions
from xfrmctl.model.sa import DfPolicy, Direction, Encap, KernelSa, Lifetime, Mode, SaId, SaKeys
from xfrmctl.model.selector import TrafficSelector, parse_selector
from xfrmctl.model.suite import Suite

INF = 2**64 - 1
LIMITS = ("soft_byte", "hard_byte", "soft_packet", "hard_packet")
ESN = Suite(ProtocolId.ESP, Encr.AES_GCM_16, 128, esn=True)


def encoded(table: type[Any], fields: dict[str, object], attributes: list[tuple[str, object]]) -> bytes:
    """What pyroute2 makes of a table, without the netlink header."""
    message = table()
    for name, fmt in table.fields:
        message[name] = fields.pop(name, b"" if fmt.endswith("s") else 0)
    assert not fields
    message["attrs"] = attributes
    message.encode()
    return bytes(message.data[16:])


def algo(name: str, key: bytes, **sizes: int) -> dict[str, object]:
    return {"alg_name": name, "alg_key_len": 8 * len(key), "alg_key": key, **sizes}


def tunnel(**changes: object) -> dict[str, object]:
    """The fields of the SA of ``kernel_values.sa()``."""
    fields: dict[str, object] = {
        "id_daddr": B.packed,
        "id_spi": 0x1001,
        "id_proto": 50,
        "saddr": A.packed,
        **{f"lft_{limit}_limit": INF for limit in LIMITS},
        "reqid": 0x58000001,
        "family": 2,
        "mode": 1,
        "flags": c.XFRM_STATE_AF_UNSPEC,
    }
    return fields | changes


SHA512 = ("XFRMA_ALG_AUTH_TRUNC", algo("hmac(sha512)", CBC_KEYS.integrity, alg_trunc_len=256))
CASES: list[tuple[KernelSa, SaKeys, dict[str, object], list[tuple[str, object]]]] = [
    (sa(), GCM_KEYS, tunnel(), [("XFRMA_ALG_AEAD", algo("rfc4106(gcm(aes))", GCM_KEYS.encryption, alg_icv_len=128))]),
    (
        sa(suite=CBC, df=DfPolicy.CLEAR, acquire_seq=77),
        CBC_KEYS,
        tunnel(flags=c.XFRM_STATE_AF_UNSPEC | c.XFRM_STATE_NOPMTUDISC, seq=77),
        [SHA512, ("XFRMA_ALG_CRYPT", algo("cbc(aes)", CBC_KEYS.encryption))],
    ),
    (
        sa(
            suite=CHACHA,
            direction=Direction.IN,
            source=A6,
            destination=B6,
            encap=Encap(4500, 32000),
            if_id=if_id_for(9),
            lifetime=Lifetime(soft_seconds=50, hard_seconds=60, soft_bytes=7, hard_packets=8),
        ),
        CHACHA_KEYS,
        tunnel(
            saddr=A6.packed,
            id_daddr=B6.packed,
            family=10,
            lft_soft_byte_limit=7,
            lft_hard_packet_limit=8,
            lft_soft_add_expires_seconds=50,
            lft_hard_add_expires_seconds=60,
            flags=c.XFRM_STATE_AF_UNSPEC | c.XFRM_STATE_ICMP,
        ),
        [
            (
                "XFRMA_ALG_AEAD",
                algo("rfc7539esp(chacha20,poly1305)", CHACHA_KEYS.encryption, alg_icv_len=128),
            ),
            ("XFRMA_REPLAY_ESN_VAL", {"bmp_len": 4, "replay_window": 128}),
            (
                "XFRMA_ENCAP",
                {"encap_type": 2, "encap_sport": 4500, "encap_dport": 32000, "encap_oa": b""},
            ),
            ("XFRMA_IF_ID", 0x58000009),
        ],
    ),
]


@pytest.mark.parametrize(("value", "keys", "fields", "attributes"), CASES)
def test_new_sa_is_what_the_tables_say(
    value: KernelSa, keys: SaKeys, fields: dict[str, object], attributes: list[tuple[str, object]]
) -> None:
    assert new_sa(value, keys).payload == encoded(tables.UserSaInfo, dict(fields), attributes)


def decoded(value: KernelSa, keys: SaKeys = GCM_KEYS) -> Any:
    return tables.decode(tables.UserSaInfo, memoryview(new_sa(value, keys).payload))


@pytest.mark.parametrize(
    ("esn", "direction", "window", "field", "attribute"),
    [
        (False, Direction.OUT, 128, 0, None),
        (False, Direction.IN, 0, 0, None),
        (False, Direction.IN, 32, 32, None),
        (False, Direction.IN, 33, 0, (2, 33)),
        (False, Direction.IN, 9000, 0, (128, 4096)),
        (True, Direction.OUT, 128, 0, (1, 1)),
        (True, Direction.IN, 0, 0, (1, 1)),
        (True, Direction.IN, 128, 0, (4, 128)),
    ],
)
def test_replay_window(
    esn: bool, direction: Direction, window: int, field: int, attribute: tuple[int, int] | None
) -> None:
    message = decoded(sa(suite=ESN if esn else GCM, direction=direction, replay_window=window))
    held = message.get_attr("XFRMA_REPLAY_ESN_VAL")
    assert message["replay_window"] == field
    assert (held and (held["bmp_len"], held["replay_window"])) == attribute
    assert bool(message["flags"] & c.XFRM_STATE_ESN) is esn


def test_df_clear_is_for_output_only() -> None:
    assert decoded(sa(df=DfPolicy.CLEAR))["flags"] & c.XFRM_STATE_NOPMTUDISC
    assert not decoded(sa(df=DfPolicy.CLEAR, direction=Direction.IN))["flags"] & c.XFRM_STATE_NOPMTUDISC


def test_transport_sa_has_a_selector() -> None:
    pair = (TrafficSelector(A, A, 17, 53, 53), TrafficSelector(B, B, 17))
    message = decoded(sa(mode=Mode.TRANSPORT, selector=pair))
    assert message["flags"] == 0 and message["mode"] == 0
    assert (message["sel_saddr"][:4], message["sel_prefixlen_s"]) == (A.packed, 32)
    assert (message["sel_sport"], message["sel_sport_mask"], message["sel_dport_mask"]) == (53, 0xFFFF, 0)
    assert (message["sel_family"], message["sel_proto"]) == (2, 17)
    several = (parse_selector("10.0.0.1-10.0.0.6"), pair[1])
    assert decoded(sa(mode=Mode.TRANSPORT, selector=several))["sel_prefixlen_s"] == 0


@pytest.mark.parametrize(
    ("value", "keys", "words"),
    [
        (sa(reqid=7), GCM_KEYS, "mark"),
        (sa(spi=255), GCM_KEYS, "reserved"),
        (sa(), SaKeys(bytes(16)), "20 key bytes"),
        (sa(suite=CBC), SaKeys(bytes(32), bytes(32)), "64 key bytes"),
        (sa(suite=Suite(ProtocolId.ESP, Encr.DES3, 192)), SaKeys(bytes(24)), "may reach the kernel"),
        (sa(suite=Suite(ProtocolId.ESP, Encr.AES_CBC, 128)), SaKeys(bytes(16)), "may reach the kernel"),
    ],
)
def test_what_must_not_reach_the_kernel(value: KernelSa, keys: SaKeys, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        new_sa(value, keys)


def test_delete_sa() -> None:
    fields = {"daddr": B6.packed, "spi": 0xDEADBEEF, "family": 10, "proto": 50}
    request = delete_sa(SaId(B6, ProtocolId.ESP, 0xDEADBEEF))
    assert (request.type, request.payload) == (0x11, encoded(tables.UserSaId, fields, []))


def policy_fields(**changes: object) -> dict[str, object]:
    return {
        "sel_daddr": ip_address("10.2.1.0").packed,
        "sel_saddr": ip_address("10.1.1.0").packed,
        "sel_family": 2,
        "sel_prefixlen_d": 24,
        "sel_prefixlen_s": 24,
        **{f"lft_{limit}_limit": INF for limit in LIMITS},
        "priority": 1000,
        "index": 0x58000029,
        "dir": 1,
        "flags": c.XFRM_POLICY_ICMP,
    } | changes


def test_policy_is_what_the_tables_say() -> None:
    policy = next(p for p in child(if_id=if_id_for(3)).values() if p.key.direction is Direction.OUT)
    template = {
        "id_daddr": B.packed,
        "id_spi": 0,
        "id_proto": 50,
        "family": 2,
        "saddr": A.packed,
        "reqid": reqid_for(1),
        "mode": 1,
        "aalgos": 2**32 - 1,
        "ealgos": 2**32 - 1,
        "calgos": 2**32 - 1,
    }
    attributes: list[tuple[str, object]] = [("XFRMA_TMPL", template), ("XFRMA_IF_ID", 0x58000003)]
    request = put_policy(policy, index_for(5, 1), replace=False)
    assert request.type == c.XFRM_MSG_NEWPOLICY
    assert request.payload == encoded(tables.UserPolicyInfo, policy_fields(), attributes)
    held = policy_from(memoryview(request.payload))
    assert held is not None and held.policy == policy
    bare = policy_from(memoryview(put_policy(replace(policy, errors=False), index_for(5, 1), replace=True).payload))
    assert bare is not None and bare.policy != policy, "one of an older release is replaced"
    gone = delete_policy(held)
    fields = {name: value for name, value in policy_fields().items() if name.startswith(("sel", "index", "dir"))}
    assert gone.payload == encoded(tables.UserPolicyId, fields, attributes[1:])


def test_ports_and_block() -> None:
    network = ip_network("fd00::/8")
    key = PolicyKey(Direction.IN, network, network, 6, source_port=port(443), destination_port=port(80))
    request = put_policy(Policy(key, Action.BLOCK, 5), index_for(0, 0), replace=True)
    message = tables.decode(tables.UserPolicyInfo, memoryview(request.payload))
    assert request.type == c.XFRM_MSG_UPDPOLICY
    assert (message["sel_sport"], message["sel_sport_mask"], message["sel_dport"]) == (443, 0xFFFF, 80)
    assert (message["action"], message["dir"], message["sel_family"]) == (1, 0, 10)
    [held] = policies_from([(c.XFRM_MSG_NEWPOLICY, memoryview(request.payload))])
    assert held.policy == Policy(key, Action.BLOCK, 5)


OPTIONS = PlaneOptions(
    dscp_out=False, dscp_in=True, ecn=False, mark_in=Mark(5), mark_out=Mark(0x2A, 0xFF), set_mark_out=Mark(7, 0xF)
)


@pytest.mark.rfc("4301", "5.1.2")
def test_options_of_the_data_plane_are_on_the_sa_of_their_direction() -> None:
    out = decoded(sa(options=OPTIONS))
    assert out["flags"] == c.XFRM_STATE_AF_UNSPEC | c.XFRM_STATE_NOECN
    assert out.get_attr("XFRMA_SA_EXTRA_FLAGS") == c.XFRM_SA_XFLAG_DONT_ENCAP_DSCP
    mark = out.get_attr("XFRMA_MARK")
    assert (mark["v"], mark["m"]) == (0x2A, 0xFF)
    assert (out.get_attr("XFRMA_SET_MARK"), out.get_attr("XFRMA_SET_MARK_MASK")) == (7, 0xF)
    back = decoded(sa(options=OPTIONS, direction=Direction.IN, replay_window=0))
    assert back["flags"] == (c.XFRM_STATE_AF_UNSPEC | c.XFRM_STATE_NOECN | c.XFRM_STATE_DECAP_DSCP | c.XFRM_STATE_ICMP)
    for name in ("XFRMA_SA_EXTRA_FLAGS", "XFRMA_MARK", "XFRMA_SET_MARK"):
        assert back.get_attr(name) is None, "nobody has marked what comes encrypted, so it is not looked up by a mark"


@pytest.mark.parametrize(("direction", "flags"), [(Direction.OUT, 0), (Direction.IN, c.XFRM_OFFLOAD_INBOUND)])
def test_offload_is_asked_of_the_device_of_the_route(direction: Direction, flags: int) -> None:
    wish = PlaneOptions(offload=Offload.AUTO)
    asked = decoded(sa(direction=direction, options=wish)).get_attr("XFRMA_OFFLOAD_DEV")
    assert (asked["ifindex"], asked["flags"]) == (0, flags)
    without = tables.decode(tables.UserSaInfo, memoryview(new_sa(sa(options=wish), GCM_KEYS, offload=False).payload))
    assert without.get_attr("XFRMA_OFFLOAD_DEV") is None


def test_a_marked_policy_is_named_by_its_mark() -> None:
    key = PolicyKey(Direction.OUT, ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16"), mark=Mark(0x2A, 0xFF))
    held = policy_from(memoryview(put_policy(Policy(key, Action.BLOCK, 5), index_for(0, 1), replace=False).payload))
    assert held is not None and held.policy.key == key
    gone = tables.decode(tables.UserPolicyId, memoryview(delete_policy(held).payload))
    assert gone.get_attr("XFRMA_MARK")["v"] == 0x2A
    named = tables.decode(tables.UserSaId, memoryview(delete_sa(sa().id, Mark(9)).payload))
    assert (named.get_attr("XFRMA_MARK")["v"], named.get_attr("XFRMA_MARK")["m"]) == (9, 0xFFFFFFFF)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: put_policy(p, 9, replace=False),
        lambda p: link.new_link(XfrmInterface("x", 7, 1400)),
        lambda p: route.new_route(Route(ip_network("10.0.0.0/8"), None, 0), 0, replace=False),
    ],
)
def test_objects_without_a_mark_are_refused(make: Callable[[Policy], object]) -> None:
    with pytest.raises(ValueError):
        make(next(iter(child().values())))


def test_mapping_event() -> None:
    fields = {
        "id_daddr": A.packed,
        "id_spi": 0xABCDEF01,
        "id_family": 2,
        "id_proto": 50,
        "reqid": reqid_for(4),
        "old_saddr": B.packed,
        "new_saddr": ip_address("192.0.2.9").packed,
        "old_sport": 4500,
        "new_sport": 61000,
    }
    payload = encoded(tables.UserMapping, dict(fields), [])
    assert event_from(c.XFRM_MSG_MAPPING, memoryview(payload)) == Mapping(
        SaId(A, ProtocolId.ESP, 0xABCDEF01), Endpoint(B, 4500), Endpoint(ip_address("192.0.2.9"), 61000)
    )
    foreign = encoded(tables.UserMapping, fields | {"reqid": 4}, [])
    assert event_from(c.XFRM_MSG_MAPPING, memoryview(foreign)) is None
    assert event_from(0x99, memoryview(payload)) is None


@pytest.mark.parametrize(
    ("table", "size"),
    [
        (tables.UserSaInfo, 224),
        (tables.UserSaId, 24),
        (tables.UserPolicyInfo, 168),
        (tables.UserPolicyId, 64),
        (tables.UserAcquire, 280),
        (tables.UserExpire, 232),
        (tables.UserMapping, 64),
        (tables.UserTmpl, 64),
    ],
)
def test_sizes_are_the_compilers(table: type[Any], size: int) -> None:
    assert sum(struct.calcsize(fmt) for _, fmt in table.fields) == size


def test_precompiled_sizes() -> None:
    sizes = {
        structs.USERSA_INFO: 224,
        structs.USERSA_ID: 24,
        structs.USERPOLICY_INFO: 168,
        structs.USERPOLICY_ID: 64,
        structs.USER_TMPL: 64,
    }
    assert all(layout.size == size for layout, size in sizes.items())
    assert structs.USERSA_COUNTERS.size <= structs.USERSA_INFO.size


@pytest.mark.rfc("4302", "2.6")
@pytest.mark.parametrize(("ends", "aligned"), [((A, B), c.XFRM_STATE_ALIGN4), ((A6, B6), 0)])
def test_ah_has_an_integrity_key_only_and_the_alignment_of_its_ip_version(ends: tuple[Any, Any], aligned: int) -> None:
    suite = Suite(ProtocolId.AH, Encr.NULL, 0, Integ.HMAC_SHA2_256_128)
    keys = SaKeys(b"", bytes(range(32)))
    made = sa(suite=suite, protocol=ProtocolId.AH, source=ends[0], destination=ends[1])
    fields = {"family": 2, "flags": c.XFRM_STATE_AF_UNSPEC | aligned, "id_proto": 51}
    if not aligned:
        fields |= {"family": 10, "id_daddr": B6.packed, "saddr": A6.packed}  # type: ignore[dict-item]
    auth = ("XFRMA_ALG_AUTH_TRUNC", algo("hmac(sha256)", keys.integrity, alg_trunc_len=128))
    assert new_sa(made, keys).payload == encoded(tables.UserSaInfo, tunnel(**fields), [auth])
