"""The configuration as facts: spelled as in the file, without secrets."""

from collections.abc import Iterable

from xfrmctl.diagnose.facts import CertificateFacts, ChildFacts, ConnectionFacts
from xfrmctl.ike.config import ChildConfig, ConnectionConfig


def connection_facts(connections: Iterable[ConnectionConfig]) -> tuple[ConnectionFacts, ...]:
    """Connections in their order."""
    return tuple(_connection(c) for c in connections)


def _connection(config: ConnectionConfig) -> ConnectionFacts:
    auth = "certificate" if config.trust is not None else "key" if config.remote_keys else "psk"
    own = config.credential.certificate if config.credential is not None else None
    return ConnectionFacts(
        name=config.name,
        local=config.local,
        remote=config.remote,
        local_id=str(config.local_id),
        remote_id=str(config.remote_id or config.remote_pattern or "any"),
        auth=auth,
        ike=tuple(str(p) for p in config.ike),
        children=tuple(_child(config.name, c) for c in config.children),
        certificate=CertificateFacts(subject=own.subject_text, valid_from=own.valid_from, valid_to=own.valid_to)
        if own is not None
        else None,
    )


def _child(connection: str, config: ChildConfig) -> ChildFacts:
    return ChildFacts(
        connection=connection,
        name=config.name,
        local_ts=config.local_ts,
        remote_ts=config.remote_ts,
        dataplane=config.dataplane,
        mode=config.mode,
        if_id=config.if_id,
        interface=config.interface,
        mtu=config.mtu,
        marked=config.options.mark_out is not None,
        esp=tuple(str(p) for p in config.esp),
        protocol=config.protocol,
        tunnel=config.tunnel.interface if config.tunnel is not None else None,
        carries=config.tunnel.routes if config.tunnel is not None else (),
    )
