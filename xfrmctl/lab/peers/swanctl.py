"""strongSwan's configuration as values -> text, and its listings as text -> values."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from xfrmctl.lab.peers.peer import PeerTunnel


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """One CHILD SA: what it carries and how."""

    name: str = "net"
    local_ts: Sequence[str]
    remote_ts: Sequence[str]
    esp_proposals: Sequence[str] = ("aes128gcm16-x25519",)
    #: Where there are any, they take the place of those of ESP.
    ah_proposals: Sequence[str] = ()
    mode: str = "tunnel"
    #: "none" waits for `initiate`, "start" begins at once, "trap" with the first packet.
    start_action: str = "none"
    close_action: str = "none"
    dpd_action: str = "clear"
    #: Interface identifiers of the xfrm interfaces; None is the policy plane.
    if_id_in: int | None = None
    if_id_out: int | None = None
    #: Seconds; None leaves strongSwan's default (an hour).
    rekey_time_s: int | None = None
    extra: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One IKE SA, with a pre-shared key unless ``local_auth`` and ``remote_auth`` say otherwise."""

    name: str = "net"
    local: str
    remote: str
    psk: str = "lab secret"
    local_id: str | None = None
    remote_id: str | None = None
    #: Lines of the sections "local" and "remote", beside the identity.
    local_auth: Sequence[str] = ("auth = psk",)
    remote_auth: Sequence[str] = ("auth = psk",)
    proposals: Sequence[str] = ("aes128gcm16-prfsha256-x25519",)
    children: Sequence[Child] = field(default_factory=tuple)
    #: Pretend that there is a NAT, so that ESP goes inside UDP.
    encap: bool = False
    mobike: bool = True
    #: Seconds between liveness checks; 0 is off.
    dpd_delay_s: int = 0
    rekey_time_s: int | None = None
    extra: Sequence[str] = ()


def connection(tunnel: PeerTunnel) -> Connection:
    """This tunnel as strongSwan has it: its proposals are spelled as ours are."""
    given = tunnel.credentials
    padding = "" if given is None or given.kind != "rsa" else ("rsa/pss-sha256" if tunnel.pss else "rsa-sha256")
    pubkey = f"auth = {padding or 'pubkey'}"
    child = Child(local_ts=tunnel.local_ts, remote_ts=tunnel.remote_ts, esp_proposals=[tunnel.esp])
    return Connection(
        name=tunnel.name,
        local=tunnel.local,
        remote=tunnel.remote,
        psk=tunnel.psk,
        local_id=tunnel.local_id,
        remote_id=tunnel.remote_id,
        local_auth=("auth = psk",) if given is None else (pubkey, f"certs = {given.name}.pem"),
        remote_auth=("auth = psk",) if given is None else ("auth = pubkey", f"cacerts = {given.name}.pem"),
        proposals=[tunnel.ike],
        encap=tunnel.encap,
        dpd_delay_s=tunnel.dpd_s,
        children=[child],
    )


def render(connections: Sequence[Connection]) -> str:
    """swanctl.conf for these connections."""
    lines = ["connections {"]
    for connection in connections:
        lines += _connection(connection)
    lines += ["}", "secrets {"]
    for number, connection in enumerate(connections, 1):
        lines += [
            f"  ike-{number} {{",
            f"    id-1 = {connection.local_id or connection.local}",
            f"    id-2 = {connection.remote_id or connection.remote}",
            f'    secret = "{connection.psk}"',
            "  }",
        ]
    return "\n".join([*lines, "}", ""])


def _connection(connection: Connection) -> Iterator[str]:
    yield f"  {connection.name} {{"
    yield "    version = 2"
    yield f"    local_addrs = {connection.local}"
    yield f"    remote_addrs = {connection.remote}"
    yield f"    proposals = {','.join(connection.proposals)}"
    yield f"    encap = {_yes(connection.encap)}"
    yield f"    mobike = {_yes(connection.mobike)}"
    if connection.dpd_delay_s:
        yield f"    dpd_delay = {connection.dpd_delay_s}s"
    if connection.rekey_time_s is not None:
        yield f"    rekey_time = {connection.rekey_time_s}s"
    yield from (f"    {line}" for line in connection.extra)
    for side, auth, identity in (
        ("local", connection.local_auth, connection.local_id or connection.local),
        ("remote", connection.remote_auth, connection.remote_id or connection.remote),
    ):
        yield from (f"    {side} {{", *(f"      {line}" for line in auth), f"      id = {identity}", "    }")
    yield "    children {"
    for child in connection.children:
        yield from _child(child)
    yield "    }"
    yield "  }"


def _child(child: Child) -> Iterator[str]:
    yield f"      {child.name} {{"
    yield f"        local_ts = {','.join(child.local_ts)}"
    yield f"        remote_ts = {','.join(child.remote_ts)}"
    if child.ah_proposals:
        yield f"        ah_proposals = {','.join(child.ah_proposals)}"
    else:
        yield f"        esp_proposals = {','.join(child.esp_proposals)}"
    yield f"        mode = {child.mode}"
    yield f"        start_action = {child.start_action}"
    yield f"        close_action = {child.close_action}"
    yield f"        dpd_action = {child.dpd_action}"
    if child.if_id_in is not None:
        yield f"        if_id_in = {child.if_id_in}"
    if child.if_id_out is not None:
        yield f"        if_id_out = {child.if_id_out}"
    if child.rekey_time_s is not None:
        yield f"        rekey_time = {child.rekey_time_s}s"
    yield from (f"        {line}" for line in child.extra)
    yield "      }"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


# ---- listings -------------------------------------------------------------------------------------------------


def parse_raw(text: str) -> list[dict[str, Any]]:
    """The events of `swanctl --list-sas --raw`: one dictionary per line, sections as dictionaries in it."""
    events = []
    for line in text.splitlines():
        if line.startswith("list-sa event {"):
            words = line.removeprefix("list-sa event {").replace("{", " { ").replace("}", " } ").split()
            events.append(_section(deque(words)))
    return events


def _section(words: deque[str]) -> dict[str, Any]:
    """Read up to the closing brace of a section: ``name { … }``, ``key=value``, ``key=[one two]``."""
    section: dict[str, Any] = {}
    key = ""
    while words and (word := words.popleft()) != "}":
        if words and words[0] == "{":
            words.popleft()
            section[word] = _section(words)
        elif "=" in word:
            key, _, value = word.partition("=")
            section[key] = _list(value, words) if value.startswith("[") else value
        elif isinstance(section.get(key), str):
            section[key] += f" {word}"  # a value with a space in it
    return section


def _list(first: str, words: deque[str]) -> list[str]:
    values = [first.removeprefix("[")]
    while not values[-1].endswith("]") and words:
        values.append(words.popleft())
    values[-1] = values[-1].removesuffix("]")
    return [value for value in values if value]


@dataclass(frozen=True, slots=True)
class ChildSa:
    """One CHILD SA as strongSwan lists it; SPIs as integers, bytes of inner packets."""

    name: str
    state: str
    spi_in: int
    spi_out: int
    bytes_in: int
    bytes_out: int
    packets_in: int
    packets_out: int
    encap: bool
    #: TUNNEL or TRANSPORT.
    mode: str


@dataclass(frozen=True, slots=True)
class IkeSa:
    """One IKE SA as strongSwan lists it."""

    name: str
    state: str
    children: Sequence[ChildSa]


def ike_sas(text: str) -> list[IkeSa]:
    """The SAs in the output of `swanctl --list-sas --raw`."""
    found = []
    for event in parse_raw(text):
        for name, sa in event.items():
            if isinstance(sa, dict):
                children = [_child_sa(child) for child in sa.get("child-sas", {}).values() if isinstance(child, dict)]
                found.append(IkeSa(name, sa.get("state", ""), children))
    return found


def _child_sa(child: dict[str, Any]) -> ChildSa:
    def number(key: str, base: int = 10) -> int:
        return int(child.get(key, "0"), base)

    return ChildSa(
        child.get("name", ""),
        child.get("state", ""),
        number("spi-in", 16),
        number("spi-out", 16),
        number("bytes-in"),
        number("bytes-out"),
        number("packets-in"),
        number("packets-out"),
        child.get("encap") == "yes",
        child.get("mode", ""),
    )
