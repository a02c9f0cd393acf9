"""Values of the engine -> the keys of a file that would say the same, with every default written out.

It is how two configurations are told apart for people: ``xfrmctl plan``. Values are the ones in force, not their
spelling: ``60m`` and ``1h`` are the same. A secret has a digest to compare it by, and no text.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from xfrmctl.config.build import GatewaySettings
from xfrmctl.crypto.certificate import Certificate
from xfrmctl.crypto.credential import Credential
from xfrmctl.crypto.rawkey import RawKey
from xfrmctl.crypto.trust import TrustStore
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, EngineConfig, RetransmitPolicy
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.sa import DataPlane, Lifetime
from xfrmctl.model.spd import SpdEntry
from xfrmctl.model.tunnel import Tunnel
from xfrmctl.pmtu.settings import PathOptions

_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))
FINGERPRINT = 16
"""Hex digits of a fingerprint that are shown; all of them are compared."""


@dataclass(frozen=True, slots=True)
class Value:
    """What stands at a key. ``content`` is compared, too, where ``text`` is not all; a ``secret`` has no text."""

    text: str
    content: bytes = field(default=b"", repr=False)
    secret: bool = False


Keys = dict[str, Value]
"""Dotted key -> value, in the order in which one would write them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One key that differs; None where it is not there. Of a secret both texts are empty."""

    key: str
    old: str | None
    new: str | None
    secret: bool = False


def differences(old: Keys, new: Keys) -> list[Difference]:
    """Keys whose values differ, in the order of ``new``, and those that are gone after them."""
    found = []
    for key in (*new, *(key for key in old if key not in new)):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        old_text, new_text = (None if value is None else value.text for value in (before, after))
        secret = any(value is not None and value.secret for value in (before, after))
        found.append(Difference(key, old_text, new_text, secret))
    return found


def duration(seconds: float) -> str:
    """``14400`` is 4h; the largest unit that leaves nothing over."""
    return next((f"{seconds / size:g}{unit}" for size, unit in _UNITS if not seconds % size), f"{seconds:g}s")


def of_gateway(settings: GatewaySettings, engine: EngineConfig) -> Keys:
    """The sections ``gateway`` and ``policies``."""
    found = {
        "gateway.metrics": _word(settings.metrics, "off"),
        "gateway.status_page": _word(settings.status_page, "off"),
        "gateway.metrics_compat": Value(settings.metrics_compat),
        "gateway.metrics_exemplars": _truth(settings.metrics_exemplars),
        "gateway.key_log": _word(settings.key_log, "off"),
        "gateway.ports.ike": Value(str(engine.ike_port)),
        "gateway.ports.nat_t": Value(str(engine.nat_t_port)),
        "gateway.limits.half_open": Value(str(engine.half_open_limit)),
        "gateway.limits.half_open_per_source": Value(str(engine.half_open_per_source)),
        "gateway.limits.cookies_from": Value(str(engine.cookie_threshold)),
        "gateway.limits.half_open_timeout": Value(duration(engine.half_open_timeout_s)),
        **_retransmit("gateway.retransmit", engine.retransmit),
        **of_path(settings.path_mtu, "gateway.path_mtu"),
        "gateway.control_group": _word(settings.control_group, "root only"),
        "gateway.crash_detection": _truth(settings.crash_detection),
        "gateway.firewall": Value(settings.firewall.value),
    }
    for version, name in ((4, "frag_needed"), (6, "packet_too_big")):
        found[f"gateway.icmp.{name}"] = Value(settings.icmp[version].value)
    return found | {_policy_key(entry): Value(_policy(entry)) for entry in settings.policies}


def _policy_key(entry: SpdEntry) -> str:
    return entry.name if entry.name.startswith("gateway.") else f"policies.{entry.name}"


def _policy(entry: SpdEntry) -> str:
    return f"{entry.action.value} {_list(entry.local_ts)} <-> {_list(entry.remote_ts)}, {entry.precedence.value}"


def of_path(options: PathOptions, prefix: str = "path_mtu") -> Keys:
    """A section ``path_mtu``."""
    return {
        f"{prefix}.probe": _truth(options.probe),
        f"{prefix}.aging": _seconds(options.aging_s),
        f"{prefix}.confirm": _seconds(options.confirm_s),
        f"{prefix}.echo": Value(str(options.echo)),
    }


def of_connection(connection: ConnectionConfig, path: PathOptions | None) -> Keys:
    """All of a connection but its children. ``path``: its own section ``path_mtu``, where it has one."""
    local = None if connection.roams else connection.local
    return {
        "local.address": _word(local, "any"),
        "local.id": Value(str(connection.local_id)),
        "local.alternates": Value(_list(connection.alternates)),
        "remote.address": _word(connection.remote, "any"),
        "remote.id": _word(connection.remote_id or connection.remote_pattern, "any"),
        **_proofs(connection),
        "ike.proposals": Value(_list(connection.ike)),
        "ike.dpd": _seconds(connection.dpd_s),
        "ike.rekey": _seconds(connection.rekey_s),
        "ike.reauth": _seconds(connection.reauth_s),
        "ike.keepalive": _seconds(connection.keepalive_s),
        "ike.encap": Value("always" if connection.force_encap else "auto"),
        "ike.fragmentation": _word(connection.fragment_size, "off"),
        "ike.mobike": _truth(connection.mobike),
        "ike.childless": Value(connection.childless.value),
        **_retransmit("ike.retransmit", connection.retransmit),
        "retry.tries": _word(connection.retry.tries, "forever"),
        "retry.first": _seconds(connection.retry.first_s),
        "retry.max": _seconds(connection.retry.max_s),
        **(of_path(path) if path is not None else {}),
        "unique": Value(connection.unique.value),
    }


def of_child(child: ChildConfig) -> Keys:
    """One child; reqid is the daemon's own number for it."""
    protocol = "ah" if child.protocol is ProtocolId.AH else "esp"
    plane, options = child.dataplane, child.options
    return {
        "mode": Value("transport-or-tunnel" if child.tunnel_will_do else child.mode.value),
        "local_ts": Value(_list(child.local_ts)),
        "remote_ts": Value(_list(child.remote_ts)),
        protocol: Value(_list(child.esp)),
        "dataplane": Value(plane.value),
        "interface": _word(child.interface, "none"),
        "if_id": Value(str(child.if_id) if plane is DataPlane.POLICY else f"{child.if_id:#x}"),
        "start": Value(child.start.value),
        "mtu": _word(child.mtu, "auto"),
        "mss": Value(str(child.mss)),
        "df": Value(child.df.value),
        "oversize": Value(child.oversize.value),
        "replay_window": Value(str(child.replay_window) if child.replay_window else "off"),
        "dscp.outbound": Value("copy" if options.dscp_out else "none"),
        "dscp.inbound": Value("copy" if options.dscp_in else "keep"),
        "ecn": Value("on" if options.ecn else "off"),
        "mark.inbound": _word(options.mark_in, "none"),
        "mark.outbound": _word(options.mark_out, "none"),
        "set_mark.inbound": _word(options.set_mark_in, "none"),
        "set_mark.outbound": _word(options.set_mark_out, "none"),
        "offload": Value(options.offload.value),
        "fail": Value("closed" if child.fail_closed else "open"),
        **_lifetime(child.lifetime),
        **(_tunnel(child.tunnel) if child.tunnel is not None else {}),
        "(reqid)": Value(f"{child.reqid:#x}"),
    }


def selectors(child: ChildConfig) -> str:
    """What a child carries, in a few words."""
    return f"{_list(child.local_ts)} <-> {_list(child.remote_ts)}"


def _proofs(connection: ConnectionConfig) -> Keys:
    """The section ``auth``."""
    found: Keys = {}
    if connection.psk:
        found["auth.psk"] = _secret(connection.psk)
    found |= {f"auth.psks.{who}": _secret(psk) for who, psk in connection.psks.items()}
    if connection.credential is not None:
        found |= _credential(connection.credential)
    if connection.remote_keys:
        found["auth.remote_pubkey"] = _raw(connection.remote_keys)
    if connection.trust is not None:
        found |= _trust(connection.trust)
    return found | {"auth.sha1": _truth(connection.sha1)}


def _credential(credential: Credential) -> Keys:
    if credential.raw is not None:
        found = {"auth.pubkey": _raw((credential.raw,))}
    else:
        found = {"auth.certificate": _certificates(credential.chain)}
    return found | {"auth.rsa": Value(credential.rsa.value)}


def _trust(trust: TrustStore) -> Keys:
    check = trust.check
    return {
        "auth.ca": _certificates(trust.anchors),
        "auth.revocation": Value(check.mode.value),
        "auth.fetch": _truth(check.fetch),
        "auth.crl": _statements((c.digest for c in check.crls), check.crl_urls),
        "auth.ocsp": _statements((r.digest for r in check.responses), check.ocsp_urls),
    }


def _certificates(found: Iterable[Certificate]) -> Value:
    chain = tuple(found)
    text = _list(f"{c.subject_text} (sha256 {c.fingerprint[:FINGERPRINT]}…)" for c in chain)
    return Value(text, "".join(c.fingerprint for c in chain).encode())


def _statements(found: Iterable[bytes], urls: Iterable[str]) -> Value:
    digests = tuple(found)
    text = _list((*(f"sha256 {digest.hex()[:FINGERPRINT]}…" for digest in digests), *urls))
    return Value(text, b"".join(digests))


def _raw(keys: Iterable[RawKey]) -> Value:
    fingerprints = [key.fingerprint for key in keys]
    return Value(_list(f"sha256 {f[:FINGERPRINT]}…" for f in fingerprints), "".join(fingerprints).encode())


def _retransmit(prefix: str, found: RetransmitPolicy) -> Keys:
    return {
        f"{prefix}.first": _seconds(found.first_s),
        f"{prefix}.factor": Value(f"{found.factor:g}"),
        f"{prefix}.tries": Value(str(found.tries)),
        f"{prefix}.max": _seconds(found.max_s),
    }


def _lifetime(found: Lifetime) -> Keys:
    return {
        "rekey.time": _seconds(found.soft_seconds or None),
        "rekey.bytes": _word(found.soft_bytes or None, "off"),
        "rekey.packets": _word(found.soft_packets or None, "off"),
        "lifetime.time": _seconds(found.hard_seconds or None),
        "lifetime.bytes": _word(found.hard_bytes or None, "off"),
        "lifetime.packets": _word(found.hard_packets or None, "off"),
    }


def _tunnel(found: Tunnel) -> Keys:
    return {
        "tunnel.type": Value(found.type.value),
        "tunnel.interface": Value(found.interface),
        "tunnel.addresses": Value(_list(found.addresses)),
        "tunnel.key": _word(found.key, "none"),
        "tunnel.ttl": Value(str(found.ttl)),
        "tunnel.keepalive": _seconds(found.keepalive_s),
        "tunnel.routes": Value(_list(found.routes)),
    }


def _secret(content: bytes) -> Value:
    return Value("", hashlib.sha256(content).digest(), secret=True)


def _word(value: object, without: str) -> Value:
    return Value(without if value is None else str(value))


def _truth(value: bool) -> Value:
    return Value("true" if value else "false")


def _seconds(value: float | None) -> Value:
    return Value("off" if value is None else duration(value))


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "none"
