"""Settings as other products spell them: swanctl.conf, ipsec.conf and ipsec.secrets, Cisco IOS (XE).

Proposals are read in our own spelling (:mod:`xfrmctl.model.suite`); what a product does not have gives no line.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from xfrmctl.diagnose.lines import (
    CHILD,
    CONN,
    CONN6,
    CONNECTION,
    SECRETS,
    SWAN_SECRET,
    cisco,
    libreswan,
    strongswan,
    xfrmctl,
    xfrmctl_there,
)
from xfrmctl.model.address import IPNetwork
from xfrmctl.model.finding import Line
from xfrmctl.model.iana import ProtocolId, TransformType
from xfrmctl.model.selector import TrafficSelector
from xfrmctl.model.suite import KEYWORDS, Proposal, SuiteError, parse_proposal

_LIBRESWAN = {
    "chacha20poly1305": "chacha20_poly1305",
    "sha256": "sha2_256", "sha384": "sha2_384", "sha512": "sha2_512",
    "prfsha256": "sha2_256", "prfsha384": "sha2_384", "prfsha512": "sha2_512",
    "x25519": "dh31", "ecp256": "dh19", "ecp384": "dh20",
    "modp2048": "dh14", "modp3072": "dh15",
}  # fmt: skip
_CISCO_GROUP = {"ecp256": 19, "ecp384": 20, "modp2048": 14, "modp3072": 15}
_KEY = "THE-SAME-KEY"
_MOST_PAIRS = 4
"""Lines of an access list that are spelled out."""


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


# ---- proposals


def own_proposal(text: str, connection: str, children: Sequence[str]) -> list[Line]:
    """A proposal of the peer's as we are to write it: for IKE, or for each of these children."""
    protocol = kind_of(text)
    words = text.replace("-noesn", "")
    if protocol == ProtocolId.IKE:
        return [xfrmctl(f"ike: {{proposals: [{words}]}}", f"connections.{connection}")]
    key = protocol.name.lower()
    return [xfrmctl(f"{key}: [{words}]", f"connections.{connection}.children.{child}") for child in children]


def proposal_lines(text: str) -> list[Line]:
    """One proposal of ours as the peer is to write it, whatever product it is."""
    protocol = kind_of(text)
    proposal = read(text, protocol)
    if proposal is None:
        return []
    words = "-".join(w for w in text.split("-") if w != "noesn")
    if protocol == ProtocolId.IKE:
        found = [
            xfrmctl_there(f"ike: {{proposals: [{words}]}}", CONNECTION),
            strongswan(f"proposals = {words}", CONNECTION),
        ]
    else:
        key = protocol.name.lower()
        found = [xfrmctl_there(f"{key}: [{words}]", CHILD), strongswan(f"{key}_proposals = {words}", CHILD)]
    spelled = _libreswan(proposal, protocol)
    ios = _cisco_ike(proposal) if protocol == ProtocolId.IKE else _cisco_child(proposal, protocol)
    return found + ([libreswan(spelled)] if spelled else []) + ([cisco(*ios)] if ios else [])


def _first(proposal: Proposal, kind: TransformType) -> str:
    transforms = proposal.of(kind)
    return str(transforms[0]) if transforms else ""


def _parts(proposal: Proposal) -> tuple[str, str, str, str]:
    """Cipher, integrity, PRF and group, "" for one that is not there."""
    kinds = (TransformType.ENCR, TransformType.INTEG, TransformType.PRF, TransformType.KE)
    cipher, integ, prf, group = (_first(proposal, kind) for kind in kinds)
    return cipher, integ, prf, group


def _libreswan(proposal: Proposal, protocol: ProtocolId) -> str:
    cipher, integ, prf, group = _parts(proposal)
    name = f"aes_gcm{cipher[3:6]}" if cipher.endswith("gcm16") else _LIBRESWAN.get(cipher, cipher)
    if group and group not in _LIBRESWAN:
        return ""
    if protocol == ProtocolId.IKE:
        return f"ike={name}-{_LIBRESWAN.get(prf, prf)}-{_LIBRESWAN[group]}"
    parts = "-".join(p for p in (name, _LIBRESWAN.get(integ, "")) if p)
    parts += f";{_LIBRESWAN[group]}" if group else ""  # after a hyphen it would be read as an integrity algorithm
    return f"esp={parts}" if protocol == ProtocolId.ESP else f"phase2=ah\nphase2alg={parts}"


def _cisco_ike(proposal: Proposal) -> list[str]:
    cipher, integ, prf, group = _parts(proposal)
    if group not in _CISCO_GROUP or not cipher.startswith("aes"):
        return []
    if cipher.endswith("gcm16"):
        how = [f" encryption aes-gcm-{cipher[3:6]}", f" prf {prf.removeprefix('prf')}"]
    else:
        how = [f" encryption aes-cbc-{cipher[3:6]}", f" integrity {integ}"]
        if prf.removeprefix("prf") != integ:
            how.append(f" prf {prf.removeprefix('prf')}")
    return ["crypto ikev2 proposal P", *how, f" group {_CISCO_GROUP[group]}"]


def _cisco_child(proposal: Proposal, protocol: ProtocolId) -> list[str]:
    cipher, integ, _, group = _parts(proposal)
    if group and group not in _CISCO_GROUP:
        return []
    if protocol == ProtocolId.AH:
        how = f"ah-{integ}-hmac"
    elif cipher.startswith("aes"):
        how = f"esp-gcm {cipher[3:6]}" if cipher.endswith("gcm16") else f"esp-aes {cipher[3:6]} esp-{integ}-hmac"
    else:
        return []
    pfs = [f" set pfs group{_CISCO_GROUP[group]}"] if group else []
    return [f"crypto ipsec transform-set T {how}", " mode tunnel",
            "crypto map M 10 ipsec-isakmp", " set transform-set T", *pfs]  # fmt: skip


# ---- selectors


def selector_lines(local_ts: Sequence[TrafficSelector], remote_ts: Sequence[TrafficSelector]) -> list[Line]:
    """What the peer is to write so that its selectors mirror ours: our remote networks are its local ones."""
    return [
        xfrmctl_there(f"local_ts: [{_quoted(remote_ts)}]\nremote_ts: [{_quoted(local_ts)}]", CHILD),
        strongswan(f"local_ts = {_swan(remote_ts)}\nremote_ts = {_swan(local_ts)}", CHILD),
        *_subnets(remote_ts, local_ts),
        *_access_lists(remote_ts, local_ts),
    ]


def _plain(selectors: Sequence[TrafficSelector]) -> bool:
    """Whether they say nothing of protocols and ports."""
    return all(not ts.suffix for ts in selectors)


def _quoted(selectors: Sequence[TrafficSelector]) -> str:
    """As YAML has them: what has a bracket or a colon in it needs quotes."""
    return ", ".join(text if text.replace("/", "").replace(".", "").isdigit() else f'"{text}"'
                     for text in map(str, selectors))  # fmt: skip


def _swan(selectors: Sequence[TrafficSelector]) -> str:
    return ",".join(map(str, selectors))


def _subnets(near: Sequence[TrafficSelector], far: Sequence[TrafficSelector]) -> list[Line]:
    """libreswan makes an SA for each two networks, of one family in a connection, without ports in a list."""
    if not _plain((*near, *far)):
        return []
    found = []
    for version, place in ((4, CONN), (6, CONN6)):
        ends = [[n for ts in one for n in ts.networks() if n.version == version] for one in (near, far)]
        left, right = (" ".join(map(str, one)) for one in ends)
        if len(ends[0]) == len(ends[1]) == 1:
            found.append(libreswan(f"leftsubnet={left}\nrightsubnet={right}", place))
        elif all(ends):
            found.append(libreswan(f'leftsubnets="{left}"\nrightsubnets="{right}"', place))
    return found


def _access_lists(near: Sequence[TrafficSelector], far: Sequence[TrafficSelector]) -> list[Line]:
    """Access lists of a crypto map: for IPv4 with wildcard masks, for IPv6 with prefixes."""
    if not _plain((*near, *far)):
        return []
    pairs = [(n, f) for one in near for n in one.networks() for other in far for f in other.networks()]
    found = []
    for version, head, word in (
        (4, "ip access-list extended VPN", "ip"),
        (6, "ipv6 access-list VPN6", "ipv6"),
    ):
        alike = [(n, f) for n, f in pairs if n.version == version == f.version]
        entries = [f" permit {word} {_cisco_net(n)} {_cisco_net(f)}" for n, f in alike]
        if entries:
            found.append(cisco(head, *entries[:_MOST_PAIRS]))
    return found


def cisco_exemption(near: IPNetwork, far: IPNetwork) -> list[Line]:
    """Keep packets of a tunnel out of NAT, for whoever has ``near`` behind it: before all other lines."""
    if near.version == 6:
        return []
    return [cisco("ip access-list extended NAT", f" 1 deny ip {_cisco_net(near)} {_cisco_net(far)}")]


def _cisco_net(network: IPNetwork) -> str:
    if network.version == 6:
        return str(network)
    return f"{network.network_address} {network.hostmask}" if network.prefixlen < 32 else f"host {network[0]}"


# ---- who is who


@dataclass(frozen=True, slots=True)
class _Name:
    """An identity as it is spelled here, taken apart. ``kind``: fqdn, email, dn, keyid or address."""

    kind: str
    text: str

    @property
    def ours(self) -> str:
        """As xfrmctl.yaml has it. Distinguished names have commas in them, IPv6 addresses colons: these are quoted."""
        if self.kind == "address":
            return f'"{self.text}"' if ":" in self.text else self.text
        return f'"dn:{self.text}"' if self.kind == "dn" else f"{self.kind}:{self.text}"

    @property
    def swan(self) -> str:
        """As swanctl.conf has it."""
        if self.kind == "dn":
            return f'"{self._encoded}"'
        return self.text if self.kind == "address" else f"{self.kind}:{self.text}"

    @property
    def libreswan(self) -> str:
        """As ipsec.conf and ipsec.secrets have it."""
        if self.kind == "dn":
            return f'"{self._encoded}"'
        return {"fqdn": f"@{self.text}", "keyid": f"@[{self.text}]"}.get(self.kind, self.text)

    @property
    def cisco(self) -> str:
        """As IOS has it, "" for distinguished names: it finds these by a certificate map."""
        words = {"fqdn": "fqdn", "email": "email", "keyid": "key-id", "address": "address"}
        return f"{words[self.kind]} {self.text}" if self.kind in words else ""

    @property
    def _encoded(self) -> str:
        """A distinguished name in the order of its encoding; RFC 4514 spells it the other way round."""
        return ", ".join(reversed(re.split(r"(?<!\\),\s*", self.text)))


def _name(identity: str) -> _Name | None:
    """None for one that cannot be written: any, or bytes that are no text."""
    kind, _, rest = identity.partition(":")
    if kind in ("fqdn", "email", "dn"):
        return _Name(kind, rest)
    if kind == "key_id":  # shown as bytes, written as text
        text = bytes.fromhex(rest).decode("ascii", "replace")
        return _Name("keyid", text) if text.isprintable() and text.isascii() else None
    try:
        return _Name("address", str(ip_address(identity)))
    except ValueError:
        return None


def identity_lines(key: str, identity: str) -> list[Line]:
    """One identity at the peer. ``key``: ``local`` (who it says it is) or ``remote`` (whom it expects)."""
    name = _name(identity)
    if name is None:
        return []
    ios = name.cisco
    if ios and key == "remote":
        full = ("/128" if ":" in name.text else " 255.255.255.255") if name.kind == "address" else ""
        profile = [f" match identity remote {ios}{full}"]
    elif key == "local":
        profile = [f" identity local {ios or 'dn'}"]
    else:
        profile = []
    return [
        xfrmctl_there(f"{key}: {{id: {name.ours}}}", CONNECTION),
        strongswan(f"id = {name.swan}", f"{CONNECTION}.{key}"),
        libreswan(f"{'left' if key == 'local' else 'right'}id={name.libreswan}"),
        *([cisco("crypto ikev2 profile P", *profile)] if profile else []),
    ]


def own_identity(key: str, identity: str, connection: str) -> list[Line]:
    """One identity here."""
    name = _name(identity)
    return [xfrmctl(f"{key}: {{id: {name.ours}}}", f"connections.{connection}")] if name is not None else []


def psk_lines(local_id: str, remote_id: str) -> list[Line]:
    """Where the peer keeps the pre-shared key for the two; the key itself is never shown."""
    us, them = _name(local_id), _name(remote_id)
    found = [xfrmctl_there("auth: {psk: !file secrets/FILE}", CONNECTION)]
    if us is None or them is None:
        return found
    found += [
        strongswan(f'id-1 = {them.swan}\nid-2 = {us.swan}\nsecret = "{_KEY}"', SWAN_SECRET),
        libreswan(f'{them.libreswan} {us.libreswan} : PSK "{_KEY}"', SECRETS),
    ]
    if us.cisco:
        found.append(cisco("crypto ikev2 keyring K", " peer X", f"  identity {us.cisco}", f"  pre-shared-key {_KEY}"))
    return found


def fragmentation_lines(connection: str) -> list[Line]:
    """IKE fragmentation (RFC 7383) at both ends; IOS sends such fragments since 15.4(2)T."""
    return [
        xfrmctl("ike: {fragmentation: 1280}", f"connections.{connection}"),
        xfrmctl_there("ike: {fragmentation: 1280}", CONNECTION),
        strongswan("fragmentation = yes", CONNECTION),
        libreswan("fragmentation=yes"),
        cisco("crypto ikev2 fragmentation mtu 1280"),
    ]
