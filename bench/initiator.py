"""An initiator that costs as little as it can: straight through IKE_SA_INIT and IKE_AUTH, no engine, no retries.

Each handshake has its own SPI, nonce, identity and inner network. The key pair is one for all (RFC 7296 2.12 allows
it), so that the responder is what is measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from xfrmctl.crypto import kex
from xfrmctl.crypto.auth import psk_auth, psk_verify
from xfrmctl.crypto.entropy import Entropy
from xfrmctl.crypto.keys import IkeKeys, derive_ike_keys
from xfrmctl.crypto.protect import Protection
from xfrmctl.ike import natd
from xfrmctl.ike.negotiate import accepted
from xfrmctl.model.address import Endpoint
from xfrmctl.model.iana import AuthMethod, ExchangeType, KeGroup, PayloadType, ProtocolId, TransformType
from xfrmctl.model.identity import Identity, parse_identity
from xfrmctl.model.selector import TrafficSelector, parse_selector
from xfrmctl.model.suite import Proposal, Suite, parse_proposal
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import decode_payloads, encode, encode_payloads, first_of, id_of, parse
from xfrmctl.wire.payloads import Auth, Id, KeyExchange, Nonce, Notify, Payload, Sa, TrafficSelectors

IKE_SUITE = "aes256gcm16-prfsha384-x25519"
ESP_SUITE = "aes256gcm16"
PSK = "a key for the benchmark only, 32 characters"
RESPONDER_ID = "responder.bench.example"
RESPONDER_NET = "172.31.0.0/16"
INNER = IPv4Network("10.0.0.0/8")
MOST = 1 << 16
"""As many /24 as there are in INNER."""

_NO_SPI = bytes(8)


class HandshakeError(Exception):
    """The responder said something else than yes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all handshakes of a run have in common."""

    ike: Proposal
    esp: Proposal
    psk: bytes
    key: kex.PrivateKe
    responder: Id
    theirs: TrafficSelectors

    @classmethod
    def of(cls, ike: str, esp: str, entropy: Entropy) -> "Settings":
        """From spelled proposals; the group of the key pair is the first one of the IKE proposal."""
        proposal = parse_proposal(ike, ProtocolId.IKE)
        group = KeGroup(proposal.of(TransformType.KE)[0].id)
        return cls(
            proposal,
            parse_proposal(esp, ProtocolId.ESP).without_ke(),
            PSK.encode(),
            kex.generate(group, entropy),
            Id(PayloadType.IDR, parse_identity(f"fqdn:{RESPONDER_ID}")),
            TrafficSelectors(PayloadType.TSR, (parse_selector(RESPONDER_NET),)),
        )


def inner_network(number: int) -> IPv4Network:
    """10.x.y.0/24 of one handshake."""
    return IPv4Network((int(INNER.network_address) + (number << 8), 24))


def identity(number: int) -> Identity:
    """Who the initiator of one handshake says it is."""
    return parse_identity(f"fqdn:client-{number:05}.bench.example")


class Handshake:
    """One IKE SA and its first CHILD SA, up to the responder's yes."""

    __slots__ = (
        "_keys",
        "_nonce_r",
        "_open",
        "_settings",
        "_suite",
        "local",
        "nonce",
        "number",
        "remote",
        "request",
        "response",
        "spi_i",
        "spi_r",
    )

    def __init__(self, settings: Settings, number: int, local: Endpoint, remote: Endpoint, entropy: Entropy) -> None:
        self._settings = settings
        self.number, self.local, self.remote = number, local, remote
        self.spi_i, self.nonce = entropy(8), entropy(32)
        self.spi_r = _NO_SPI
        header = Header(self.spi_i, _NO_SPI, PayloadType.NONE, ExchangeType.IKE_SA_INIT, True, False, 0, 0)
        payloads: list[Payload] = [
            Sa((settings.ike,)),
            KeyExchange(settings.key.group, settings.key.public),
            Nonce(self.nonce),
            *natd.notifies(self.spi_i, _NO_SPI, local, remote),
        ]
        self.request = encode(header, payloads)
        self.response = b""
        self._nonce_r = b""
        self._suite: Suite | None = None
        self._keys: IkeKeys | None = None
        self._open: Protection | None = None

    def auth(self, response: bytes, entropy: Entropy) -> bytes:
        """The IKE_AUTH request that follows from the answer to IKE_SA_INIT."""
        settings = self._settings
        message = parse(response)
        offer, ke, nonce = message.one(Sa), message.one(KeyExchange), message.one(Nonce)
        if offer is None or ke is None or nonce is None:
            raise HandshakeError(f"IKE_SA_INIT: {', '.join(p.name for p in message.payloads)}")
        choice = accepted((settings.ike,), offer.proposals)
        if choice is None:
            raise HandshakeError(f"IKE_SA_INIT: chose {offer.proposals}")
        suite = choice.suite
        self.spi_r = message.header.spi_r
        keys = derive_ike_keys(suite, settings.key.shared(ke.data), self.nonce, nonce.data, self.spi_i, self.spi_r)
        assert suite.prf is not None
        me = Id(PayloadType.IDI, identity(self.number))
        mac = psk_auth(suite.prf, settings.psk, self.request, nonce.data, keys.pi, me.body)
        mine = TrafficSelector.of_network(inner_network(self.number))
        payloads: Sequence[Payload] = (
            me,
            settings.responder,
            Auth(AuthMethod.SHARED_KEY_MIC, mac),
            Sa((settings.esp.with_spi((0x01000000 + self.number).to_bytes(4, "big"), 1),)),
            TrafficSelectors(PayloadType.TSI, (mine,)),
            settings.theirs,
        )
        first, plaintext = encode_payloads(payloads)
        header = Header(self.spi_i, self.spi_r, PayloadType.SK, ExchangeType.IKE_AUTH, True, False, 1, 0)
        self.response, self._nonce_r, self._suite, self._keys = response, nonce.data, suite, keys
        self._open = Protection(suite, keys.er, keys.ar)
        self.request = Protection(suite, keys.ei, keys.ai).seal(header.encode(0), first, plaintext, entropy)
        return self.request

    def finish(self, data: bytes, *, verify: bool = True) -> None:
        """Read the answer to IKE_AUTH: it must carry a CHILD SA for exactly our network; and, asked for, a true proof.

        Raises HandshakeError.
        """
        message = parse(data)
        assert self._open is not None
        assert message.sk is not None
        payloads = decode_payloads(message.sk.first, self._open.open(data, message.sk.offset))
        errors = [p.name for p in payloads if isinstance(p, Notify) and p.type.is_error]
        if errors or first_of(payloads, Sa) is None:
            raise HandshakeError(f"IKE_AUTH: {', '.join(errors) or 'no CHILD SA'}")
        selectors = next(p for p in payloads if isinstance(p, TrafficSelectors) and p.kind == PayloadType.TSI)
        if selectors.selectors != (TrafficSelector.of_network(inner_network(self.number)),):
            raise HandshakeError(f"IKE_AUTH: TSi {', '.join(map(str, selectors.selectors))}")
        if verify:
            self._verify(payloads)

    def _verify(self, payloads: Sequence[Payload]) -> None:
        them, auth = id_of(payloads, PayloadType.IDR), first_of(payloads, Auth)
        suite, keys = self._suite, self._keys
        assert suite is not None
        assert suite.prf is not None
        assert keys is not None
        if them is None or auth is None:
            raise HandshakeError("IKE_AUTH: no proof")
        if not psk_verify(suite.prf, self._settings.psk, self.response, self.nonce, keys.pr, them.body, auth.data):
            raise HandshakeError("IKE_AUTH: wrong proof")


def sources(base: str, count: int) -> list[IPv4Address]:
    """``count`` addresses from ``base`` on, for initiators that shall look like many."""
    first = IPv4Address(base)
    return [first + offset for offset in range(count)]
