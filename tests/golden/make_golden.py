"""Write the golden messages with scapy, an independent encoder: ``python tests/golden/make_golden.py``.

Each file is one datagram or one payload chain in hex; lines that begin with # say what it is. Captured messages of
other implementations stand in the same folder and format.
"""

from pathlib import Path

from scapy.contrib import ikev2 as s
from scapy.packet import Packet, Raw

HERE = Path(__file__).parent
SPI_I = bytes.fromhex("1122334455667788")
SPI_R = bytes.fromhex("99aabbccddeeff01")
NO_SPI = bytes(8)
NONCE_I = bytes(range(32))
NONCE_R = bytes(range(32, 64))
INITIATOR, RESPONSE = 0x08, 0x20


def _transforms(*kinds: tuple[int, int, int | None]) -> Packet:
    chain: Packet | None = None
    for kind, number, bits in kinds:
        fields = {"transform_type": kind, "transform_id": number}
        if bits is not None:
            fields |= {"length": 12, "key_length": bits}
        link = s.IKEv2_Transform(**fields)
        chain = link if chain is None else chain / link
    assert chain is not None
    return chain


AEAD = ((1, 20, 256), (2, 6, None), (4, 31, None))
CLASSIC = ((1, 12, 256), (1, 12, 128), (2, 5, None), (3, 12, None), (4, 14, None))
ESP = ((1, 20, 256), (5, 0, None))


def _proposal(number: int, protocol: int, kinds: tuple[tuple[int, int, int | None], ...], spi: bytes) -> Packet:
    return s.IKEv2_Proposal(proposal=number, proto=protocol, SPI=spi, trans_nb=len(kinds), trans=_transforms(*kinds))


def _header(spi_r: bytes, exchange: int, flags: int, message_id: int) -> Packet:
    return s.IKEv2(init_SPI=SPI_I, resp_SPI=spi_r, exch_type=exchange, flags=flags, id=message_id)


def _ts4(low: str, high: str) -> Packet:
    return s.IPv4TrafficSelector(IP_protocol_ID=0, starting_address_v4=low, ending_address_v4=high)


def _ts6(low: str, high: str) -> Packet:
    return s.IPv6TrafficSelector(
        length=40, IP_protocol_ID=6, start_port=443, end_port=443, starting_address_v6=low, ending_address_v6=high
    )


def _messages() -> dict[str, tuple[str, Packet]]:
    selectors = s.IKEv2_TSi(traffic_selector=[_ts4("10.1.1.0", "10.1.1.255")]) / s.IKEv2_TSr(
        traffic_selector=[_ts4("10.1.2.0", "10.1.2.255"), _ts6("2001:db8::", "2001:db8::ffff")]
    )
    return {
        "ike_sa_init_request": (
            "IKE_SA_INIT request: SA (AEAD and CBC), KE, Ni, N(NAT_DETECTION_*), N(IKEV2_FRAGMENTATION_SUPPORTED)",
            _header(NO_SPI, 34, INITIATOR, 0)
            / s.IKEv2_SA(prop=_proposal(1, 1, AEAD, b"") / _proposal(2, 1, CLASSIC, b""))
            / s.IKEv2_KE(group=31, ke=bytes(range(100, 132)))
            / s.IKEv2_Nonce(nonce=NONCE_I)
            / s.IKEv2_Notify(proto=0, type=16388, notify=b"s" * 20)
            / s.IKEv2_Notify(proto=0, type=16389, notify=b"d" * 20)
            / s.IKEv2_Notify(proto=0, type=16430),
        ),
        "ike_sa_init_response": (
            "IKE_SA_INIT response: SA, KE, Nr, V",
            _header(SPI_R, 34, RESPONSE, 0)
            / s.IKEv2_SA(prop=_proposal(1, 1, AEAD, b""))
            / s.IKEv2_KE(group=31, ke=bytes(range(132, 164)))
            / s.IKEv2_Nonce(nonce=NONCE_R)
            / s.IKEv2_VendorID(vendorID=b"a vendor"),
        ),
        "ike_sa_init_cookie": (
            "IKE_SA_INIT response: N(COOKIE)",
            _header(NO_SPI, 34, RESPONSE, 0) / s.IKEv2_Notify(proto=0, type=16390, notify=b"c" * 33),
        ),
        "ike_sa_init_invalid_ke": (
            "IKE_SA_INIT response: N(INVALID_KE_PAYLOAD), MODP_2048 wanted",
            _header(NO_SPI, 34, RESPONSE, 0) / s.IKEv2_Notify(proto=0, type=17, notify=b"\0\x0e"),
        ),
        "ike_auth_clear": (
            "IKE_AUTH request as if it were not protected: IDi, IDr, AUTH, N(INITIAL_CONTACT), SA, TSi, TSr",
            _header(SPI_R, 35, INITIATOR, 1)
            / s.IKEv2_IDi(IDtype=2, ID=b"moon.example.org")
            / s.IKEv2_IDr(IDtype=1, ID="172.16.2.1")
            / s.IKEv2_AUTH(auth_type=2, load=bytes(range(48)))
            / s.IKEv2_Notify(proto=0, type=16384)
            / s.IKEv2_SA(prop=_proposal(1, 3, ESP, b"\xc1\xc2\xc3\xc4"))
            / selectors,
        ),
        "create_child_sa_clear": (
            "CREATE_CHILD_SA request as if it were not protected: N(REKEY_SA), SA, Ni, KEi, TSi, TSr",
            _header(SPI_R, 36, INITIATOR, 2)
            / s.IKEv2_Notify(proto=3, SPI=b"\xc1\xc2\xc3\xc4", type=16393)
            / s.IKEv2_SA(prop=_proposal(1, 3, ((1, 20, 256), (4, 31, None), (5, 0, None)), b"\xc5\xc6\xc7\xc8"))
            / s.IKEv2_Nonce(nonce=NONCE_R)
            / s.IKEv2_KE(group=31, ke=bytes(range(32)))
            / selectors,
        ),
        "informational_delete_clear": (
            "INFORMATIONAL request as if it were not protected: D (two ESP SPIs), CERTREQ",
            _header(SPI_R, 37, INITIATOR, 3)
            / s.IKEv2_Delete(proto=3, SPIsize=4, SPInum=2, SPI=[b"\xc1\xc2\xc3\xc4", b"\xc5\xc6\xc7\xc8"])
            / s.IKEv2_CERTREQ(cert_encoding=4, cert_authority=b"h" * 20),
        ),
        "informational_sk": (
            "INFORMATIONAL request: SK with an opaque body, first inner payload N",
            _header(SPI_R, 37, INITIATOR, 4)
            / s.IKEv2_Encrypted(next_payload=41, length=44)
            / Raw(bytes(range(200, 240))),
        ),
    }


def main() -> None:
    """Write all files."""
    for name, (title, packet) in _messages().items():
        text = bytes(packet).hex()
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        (HERE / f"{name}.hex").write_text("\n".join([f"# {title} (scapy)", *lines, ""]))


if __name__ == "__main__":
    main()
