"""The way from a path to a :class:`Configuration`, and what a reload changes.

All problems of a file are found in one go: connections with a faulty value are set aside, the others still go
through secrets and cross checks, and everything found is raised together.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from xfrmctl.config import build, schema
from xfrmctl.config.build import GatewaySettings
from xfrmctl.config.check import check, check_listeners, check_policies
from xfrmctl.config.document import Document, Key, parse
from xfrmctl.config.explain import explain, place_of
from xfrmctl.config.fragmentation import check_fragmentation
from xfrmctl.config.overlaps import check_overlaps
from xfrmctl.config.problem import ConfigError, Problem
from xfrmctl.ike.config import ConnectionConfig, EngineConfig
from xfrmctl.pmtu.settings import PathOptions

MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Names of connections, sorted, that a reload touches."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """A checked configuration.

    ``digests`` name each connection with its secrets, for comparing in this process only. ``warnings`` are what
    works but should not stay so.
    """

    file: Path
    gateway: GatewaySettings
    engine: EngineConfig
    digests: dict[str, str] = field(repr=False)
    warnings: tuple[Problem, ...] = ()

    @cached_property
    def hash(self) -> str:
        """Names the whole content (hex SHA-256) and may be published. The first time takes 50 ms and 16 MiB."""
        return _public_hash(self.gateway, self.engine)

    def changes(self, newer: "Configuration") -> Changes:
        """What changes when ``newer`` takes the place of this configuration."""
        old, new = self.digests, newer.digests
        return Changes(
            added=tuple(sorted(new.keys() - old.keys())),
            changed=tuple(sorted(n for n in new.keys() & old.keys() if new[n] != old[n])),
            removed=tuple(sorted(old.keys() - new.keys())),
        )


def load(path: Path | str, previous: Configuration | None = None) -> Configuration:
    """Read and check a file. With ``previous``, whoever has a reqid or if_id there keeps it.

    Raises ConfigError with every problem found.
    """
    file = Path(path)
    return loads(_read(file), file, previous)


def loads(text: str, file: Path, previous: Configuration | None = None) -> Configuration:
    """Like :func:`load`, for text already read; ``file`` names it and is where ``!file`` paths start."""
    document = parse(text, file)
    problems = document.problems
    warnings: list[Problem] = []

    def report(key: Key, cause: str, cure: str) -> None:
        problems.append(document.problem(key, cause, cure))

    def warn(key: Key, cause: str, cure: str) -> None:
        warnings.append(document.problem(key, cause, cure))

    def line_of(key: Key) -> int:
        return document.problem(key, "", "").line

    found = _validated(document, report)
    engine = build.engine(found, file, previous.engine.connections if previous else {}, report)
    gateway = build.gateway(found)
    check(engine.connections, report, warn)
    check_listeners(gateway, warn)
    check_fragmentation(engine.connections.values(), gateway.firewall, report)
    check_policies(gateway.policies, engine.connections.values(), report, warn)
    check_overlaps(engine.connections.values(), gateway.written_policies, report, warn, line_of)
    if problems:
        raise ConfigError({(p.line, p.key): p for p in reversed(problems)}.values())  # the first one of a place
    return Configuration(
        file=file,
        gateway=gateway,
        engine=engine,
        digests={
            name: _digest(connection, gateway.path_mtu_of.get(name)) for name, connection in engine.connections.items()
        },
        warnings=tuple(sorted(warnings, key=lambda p: (p.line, p.column))),
    )


def _read(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        cure = {
            FileNotFoundError: "write it (README has an example), or name another with --config",
            PermissionError: "run as root, or as the owner of the file",
            IsADirectoryError: "name the file in it",
        }.get(type(error), "name a readable file")
        raise ConfigError([_whole(file, f"cannot read it: {error.strerror}", cure)]) from None
    if len(content) > MAX_BYTES:
        raise ConfigError([_whole(file, "larger than 64 MiB", "is it the right file?")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [replace(_whole(file, "not UTF-8 text", "save the file as UTF-8"), line=line, column=1)]
        ) from None


def _whole(file: Path, cause: str, cure: str) -> Problem:
    return Problem(file=file, line=0, column=0, key="", cause=cause, cure=cure)


def _validated(document: Document, report: build.Report) -> schema.File:
    """What of the document fits the schema; the rest is reported."""
    data = document.data
    if data is None:
        report((), "the file is empty", "write gateway: and connections: (README has an example)")
        return schema.File()
    if not isinstance(data, dict):
        report((), "the file is no mapping", "begin with gateway: or connections:")
        return schema.File()
    _check_names(data, report)
    try:
        return schema.File.model_validate(data)
    except ValidationError as error:
        document.problems.extend(explain(error, document, schema.File))
        return _without(data, [place_of(detail["loc"]) for detail in error.errors(include_url=False)])


def _without(data: dict[str, object], faulty: list[Key]) -> schema.File:
    """The document less its faulty connections (and less gateway or policies, if they are faulty)."""
    connections = data.get("connections")
    bad = {key[1] for key in faulty if key[0] == "connections" and len(key) > 1}
    sound: dict[str, object] = {}
    if isinstance(connections, dict):
        sound["connections"] = {name: value for name, value in connections.items() if name not in bad}
    for section in ("gateway", "policies"):
        if all(key[0] != section for key in faulty) and section in data:
            sound[section] = data[section]
    return schema.File.model_validate(sound)


def _check_names(data: dict[str, object], report: build.Report) -> None:
    policies, connections = data.get("policies"), data.get("connections")
    for name in policies if isinstance(policies, dict) else ():
        _check_name(("policies", name), name, report)
    if not isinstance(connections, dict):
        return
    for name, connection in connections.items():
        _check_name(("connections", name), name, report)
        children = connection.get("children") if isinstance(connection, dict) else None
        for child in children if isinstance(children, dict) else ():
            _check_name(("connections", name, "children", child), child, report)


def _check_name(key: Key, name: str, report: build.Report) -> None:
    """Names stand in URLs, labels and log lines."""
    if (
        not name
        or len(name) > schema.MAX_NAME
        or not all(c.isalnum() or c in "-_." for c in name)
        or "."
        in (
            name[0],
            name[-1],
        )
    ):
        cure = f"use 1 to {schema.MAX_NAME} letters, digits, '-', '_' and inner '.'"
        report(key, f"{name!r} cannot be a name", cure)


def _digest(connection: ConnectionConfig, path: PathOptions | None) -> str:
    content = repr((replace(connection, psk=b"", psks={}), path)).encode()
    return hashlib.sha256(_hashed(connection) + content).hexdigest()


def _hashed(connection: ConnectionConfig) -> bytes:
    """The shared keys of a connection, with whom they are for, as digests in the order of the file."""
    keys = [connection.psk, *(f"{who.type}:".encode() + who.data + b"\0" + psk for who, psk in connection.psks.items())]
    return b"".join(hashlib.sha256(key).digest() for key in keys)


def _public_hash(gateway: GatewaySettings, engine: EngineConfig) -> str:
    """A name for the whole content that changes with any secret, yet is slow to guess one by.

    It is published (``show``, metrics), so the secrets go in through scrypt (RFC 7914), once for all of them.
    """
    bare: Mapping[str, ConnectionConfig] = {n: replace(c, psk=b"", psks={}) for n, c in engine.connections.items()}
    content = hashlib.sha256(repr((gateway, replace(engine, connections=dict(bare)))).encode()).digest()
    keys = b"".join(map(_hashed, engine.connections.values()))
    secret = hashlib.scrypt(keys, salt=content, n=2**14, r=8, p=1, dklen=32)
    return hashlib.sha256(content + secret).hexdigest()
