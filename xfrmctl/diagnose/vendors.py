"""Settings as other products spell them: swanctl.conf, ipsec.conf and ipsec.secrets, Cisco IOS (XE).

Proposals are read in our own spelling (:mod:`xfrmctl.model.suite`); what a product does not have gives no line.
"""

from collections.abc import Iterable, Sequence

from xfrmctl.model.address import IPNetwork
from xfrmctl.model.finding import PEER, Line
from xfrmctl.model.iana import ProtocolId, TransformType
from xfrmctl.model.identity import Identity, parse_identity
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import KEYWORDS, Proposal, SuiteError, parse_proposal

STRONGSWAN, LIBRESWAN, CISCO, XFRMCTL = "strongSwan", "libreswan", "Cisco IOS", "xfrmctl"

_LIBRESWAN = {
    "chacha20poly1305": "chacha20_poly1305",
    "sha256": "sha2_256", "sha384": "sha2_384", "sha512": "sha2_512",
    "prfsha256": "sha2_256", "prfsha384": "sha2_384", "prfsha512": "sha2_512",
    "x25519": "dh31", "ecp256": "dh19", "ecp384": "dh20", "modp2048": "dh14", "modp3072": "dh15",
}  # fmt: skip
_CISCO_GROUP = {"ecp256": 19, "ecp384": 20, "modp2048": 14, "modp3072": 15}
_CISCO_HASH = {"sha256": "sha256", "sha384": "sha384", "sha512": "sha512"}


def read(text: str, protocol: ProtocolId) -> Proposal | None:
    """A spelled proposal; None for one with an algorithm that we do not have."""
    try:
        return parse_proposal(text, protocol)
    except SuiteError:
        return None


def kind_of(text: str) -> ProtocolId:
    """Whether a spelled proposal is for IKE or for a child: only the latter says something of ESN. AH has no cipher."""
    words = text.split("-")
    if not {"esn", "noesn"}.intersection(words):
        return ProtocolId.IKE
    known = [KEYWORDS[word].type for word in words if word in KEYWORDS]
    ciphers = TransformType.ENCR in known or any(word.startswith("encr:") for word in words)
    return ProtocolId.ESP if ciphers else ProtocolId.AH


def words_by_type(texts: Iterable[str]) -> dict[str, list[str]]:
    """The keywords of spelled proposals by what they are: ``encr``, ``prf``, ``integ``, ``ke``, ``esn``."""
    found: dict[str, list[str]] = {}
    for word in (w for text in texts for w in text.split("-")):
        known = KEYWORDS.get(word)
        kind = known.type.name.lower() if known is not None else word.partition(":")[0]
        if word not in found.setdefault(kind, []):
            found[kind].append(word)
    return found


def proposal_lines(text: str) -> list[Line]:
    """One proposal of ours as the peer is to write it, whatever product it is."""
    protocol = kind_of(text)
    proposal = read(text, protocol)
    if proposal is None:
        return []
    words = [w for w in text.split("-") if w != "noesn"]
    ours, swan = ("ike: {proposals", "proposals") if protocol == ProtocolId.IKE else ("esp", "esp_proposals")
    if protocol == ProtocolId.AH:
        ours, swan = "ah", "ah_proposals"
    end = "}" if protocol == ProtocolId.IKE else ""
    found = [
        Line(end=PEER, product=XFRMCTL, text=f"{ours}: [{'-'.join(words)}]{end}"),
        Line(end=PEER, product=STRONGSWAN, text=f"{swan} = {'-'.join(words)}"),
    ]
    libreswan = _libreswan(proposal, protocol)
    if libreswan:
        found.append(Line(end=PEER, product=LIBRESWAN, text=libreswan))
    cisco = _cisco_ike(proposal) if protocol == ProtocolId.IKE else _cisco_esp(proposal)
    if cisco and protocol != ProtocolId.AH:
        found.append(Line(end=PEER, product=CISCO, text=cisco))
    return found


def _first(proposal: Proposal, kind: TransformType) -> str:
    transforms = proposal.of(kind)
    return str(transforms[0]) if transforms else ""


def _libreswan(proposal: Proposal, protocol: ProtocolId) -> str:
    cipher, integ = _first(proposal, TransformType.ENCR), _first(proposal, TransformType.INTEG)
    prf, group = _first(proposal, TransformType.PRF), _first(proposal, TransformType.KE)
    aead = cipher.endswith("gcm16")
    name = f"aes_gcm{cipher[3:6]}" if aead else _LIBRESWAN.get(cipher, cipher)
    if protocol == ProtocolId.IKE:
        return f"ike={name}-{_LIBRESWAN.get(prf, prf)}-{_LIBRESWAN.get(group, group)}"
    parts = [p for p in (name, _LIBRESWAN.get(integ, ""), _LIBRESWAN.get(group, "")) if p]
    return f"{'ah' if protocol == ProtocolId.AH else 'esp'}={'-'.join(parts)}"


def _cisco_ike(proposal: Proposal) -> str:
    cipher, integ = _first(proposal, TransformType.ENCR), _first(proposal, TransformType.INTEG)
    prf, group = _first(proposal, TransformType.PRF), _first(proposal, TransformType.KE)
    if group not in _CISCO_GROUP or not cipher.startswith("aes"):
        return ""
    if cipher.endswith("gcm16"):
        how = f"encryption aes-gcm-{cipher[3:6]} / prf {prf.removeprefix('prf')}"
    else:
        how = f"encryption aes-cbc-{cipher[3:6]} / integrity {_CISCO_HASH.get(integ, integ)}"
    return f"crypto ikev2 proposal P / {how} / group {_CISCO_GROUP[group]}"


def _cisco_esp(proposal: Proposal) -> str:
    cipher, integ = _first(proposal, TransformType.ENCR), _first(proposal, TransformType.INTEG)
    group = _first(proposal, TransformType.KE)
    if not cipher.startswith("aes") or (group and group not in _CISCO_GROUP):
        return ""
    how = f"esp-gcm {cipher[3:6]}" if cipher.endswith("gcm16") else f"esp-aes {cipher[3:6]} esp-{integ}-hmac"
    pfs = f" / crypto map M 10 ipsec-isakmp / set pfs group{_CISCO_GROUP[group]}" if group else ""
    return f"crypto ipsec transform-set T {how}{pfs}"


def selector_lines(local_ts: Sequence[TrafficSelector], remote_ts: Sequence[TrafficSelector]) -> list[Line]:
    """What the peer is to write so that its selectors mirror ours: our remote networks are its local ones."""
    theirs, ours = _spelled(remote_ts), _spelled(local_ts)
    found = [
        Line(end=PEER, product=XFRMCTL, text=f"local_ts: [{theirs}]   remote_ts: [{ours}]"),
        Line(end=PEER, product=STRONGSWAN, text=f"local_ts = {theirs.replace(' ', '')}"),
        Line(end=PEER, product=STRONGSWAN, text=f"remote_ts = {ours.replace(' ', '')}"),
        Line(end=PEER, product=LIBRESWAN, text=f"leftsubnets={{{theirs}}} rightsubnets={{{ours}}}"),
    ]
    pairs = [(near, far) for near in remote_ts for far in local_ts if near.version == far.version]
    for near, far in pairs[:4]:
        for one, other in ((n, f) for n in near.networks()[:1] for f in far.networks()[:1]):
            acl = "permit ip" if one.version == 4 else "permit ipv6"
            found.append(Line(end=PEER, product=CISCO, text=f"{acl} {_cisco_net(one)} {_cisco_net(other)}"))
    return found


def _spelled(selectors: Iterable[TrafficSelector]) -> str:
    return ", ".join(str(ts) for ts in selectors)


def _cisco_net(network: IPNetwork) -> str:
    return f"{network.network_address} {network.hostmask}" if network.version == 4 else str(network)


def identity_lines(end: str, key: str, identity: str) -> list[Line]:
    """One identity at one end. ``key``: ``local`` (who that end says it is) or ``remote`` (whom it expects)."""
    try:
        wanted = parse_identity(identity)
    except ValueError:
        return []
    side, cisco = ("left", "identity local") if key == "local" else ("right", "match identity remote")
    return [
        Line(end=end, product=XFRMCTL, text=f"{key}: {{id: {wanted}}}"),
        Line(end=end, product=STRONGSWAN, text=f"{key} {{ id = {wanted} }}"),
        Line(end=end, product=LIBRESWAN, text=f"{side}id={_at(wanted)}"),
        Line(end=end, product=CISCO, text=f"{cisco} {_cisco_id(wanted)}"),
    ]


def psk_lines(local_id: str, remote_id: str) -> list[Line]:
    """Where the peer keeps the pre-shared key for the two; the key itself is never shown."""
    try:
        us, them = parse_identity(local_id), parse_identity(remote_id)
    except ValueError:
        return []
    secret = "THE-SAME-KEY"
    return [
        Line(end=PEER, product=XFRMCTL, text="auth: {psk: !file secrets/FILE}"),
        Line(
            end=PEER,
            product=STRONGSWAN,
            text=f'secrets {{ ike-1 {{ id-1 = {them}; id-2 = {us}; secret = "{secret}" }} }}',
        ),
        Line(end=PEER, product=LIBRESWAN, text=f'{_at(them)} {_at(us)} : PSK "{secret}"   (ipsec.secrets)'),
        Line(end=PEER, product=CISCO, text=f"crypto ikev2 keyring K / peer P / identity {_cisco_id(us)}"
             f" / pre-shared-key {secret}"),
    ]  # fmt: skip


def _at(identity: Identity) -> str:
    kind, _, rest = str(identity).partition(":")
    return f"@{rest}" if kind == "fqdn" else rest if kind == "email" else str(identity)


def _cisco_id(identity: Identity) -> str:
    kind, _, rest = str(identity).partition(":")
    return f"{kind} {rest}" if kind in ("fqdn", "email") else f"address {identity}"
