"""Whose file is it? By words that only one of them has; what could be either is not guessed."""

import re
from enum import Enum

from xfrmctl.model.errors import UnusableInput


class Dialect(Enum):
    """The formats that can be read."""

    SWANCTL = "swanctl"
    STRONGSWAN = "strongswan"
    LIBRESWAN = "libreswan"
    VYOS = "vyos"


_STRONGSWAN = re.compile(
    r"^\s*(?:ca\s+\S+\s*$|(?:keyexchange\s*=\s*ikev[12]|closeaction|reauth|forceencaps|charondebug|lifetime|margintime"
    r"|margin(?:bytes|packets)|life(?:bytes|packets)|inactivity|installpolicy|mark_(?:in|out)|if_id_(?:in|out)|replay_window"
    r"|strictcrlpolicy|cachecrls|charonstart|eap_identity|aaa_identity|xauth_identity|modeconfig|tfc\s*=\s*%mtu"
    r"|(?:left|right)(?:auth2?\s*=\s*(?:pubkey|psk|eap|xauth)|firewall|hostaccess|dns|groups2?|sigkey|certpolicy|allowany)"
    r"|(?:ike|esp|ah)\s*=[^#\n]*(?:!|modp\d+!|prfsha\d|aes\d+gcm\d|sha\d+-(?:modp|ecp|curve)|-curve25519)))",
    re.MULTILINE,
)
_LIBRESWAN = re.compile(
    r"^\s*(?:version\s+2(?:\.0)?\s*$|(?:ikev2|phase2(?:alg)?|salifetime|sha2-truncbug|protostack|virtual[-_]private"
    r"|logfile|plutodebug|dumpdir|nssdir|seedbits|encapsulation|narrowing|fake-strongswan|ipsec-interface|vti-\w+"
    r"|mark-(?:in|out)|replay-window|retransmit-(?:timeout|interval)|negotiationshunt|failureshunt|modecfg\w+"
    r"|ipsec-max-\w+|nic-offload|decap-dscp|nopmtudisc|alsoflip|initial-contact|send-vendorid|ms-dh-downgrade"
    r"|auto\s*=\s*(?:ondemand|keep)|authby\s*=\s*(?:rsa-sha|null|ecdsa-sha)"
    r"|(?:left|right)(?:subnets|rsasigkey|ckaid|addresspool|modecfg\w+|xauth\w+|vti)"
    r"|(?:ike|esp|ah)\s*=[^#\n]*(?:;|\+|aes_|sha2_?\d*|chacha20_)))",
    re.MULTILINE,
)


def dialect_of(text: str, name: str) -> Dialect:
    """What a file is. Raises UnusableInput where it could be several, or none."""
    if re.search(r"^\s*set\s+vpn\s+ipsec\s", text, re.MULTILINE) or re.search(
        r"^\s*(?:vpn|ipsec)\s*\{", text, re.MULTILINE
    ):
        return Dialect.VYOS
    if re.search(r"^\s*(?:connections|secrets|authorities|pools)\s*\{", text, re.MULTILINE):
        return Dialect.SWANCTL
    if re.search(r"^(?:conn|config|ca)\s+\S+", text, re.MULTILINE):
        ours, theirs = (len(pattern.findall(text)) for pattern in (_STRONGSWAN, _LIBRESWAN))
        if ours > theirs:
            return Dialect.STRONGSWAN
        if theirs > ours:
            return Dialect.LIBRESWAN
        raise UnusableInput(
            f"{name}: an ipsec.conf that could be strongSwan's or libreswan's, and their defaults differ; "
            "say which with --from strongswan or --from libreswan"
        )
    if name == "swanctl.conf":
        return Dialect.SWANCTL
    raise UnusableInput(
        f"{name}: neither swanctl.conf, nor ipsec.conf, nor VyOS's configuration; say which with --from"
    )
