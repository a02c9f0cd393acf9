"""What a handshake costs us as responder, layer by layer, on this machine: no sockets, no kernel, no lab.

    python -m bench.engine                    the table
    python -m bench.engine --profile          where the time goes (cProfile) in the daemon's path
    python -m bench.engine --json FILE        for machines

The engine is fed with messages of a real initiator; only the responder's own work is timed, as CPU time of this
thread. The layers are cumulative: what the daemon adds to the engine is dispatch, logs, metrics and netlink encoding.
"""

import argparse
import asyncio
import cProfile
import gc
import io
import os
import pstats
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from bench import report
from bench.initiator import ESP_SUITE, IKE_SUITE, RESPONDER_ID, RESPONDER_NET, Handshake, Settings
from xfrmctl.crypto.entropy import Entropy
from xfrmctl.crypto.kex import generate
from xfrmctl.crypto.keys import derive_child_keys, derive_ike_keys
from xfrmctl.crypto.protect import Protection
from xfrmctl.daemon import logs
from xfrmctl.daemon.bus import Bus
from xfrmctl.daemon.runtime import Runtime
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, EngineConfig, Start
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.negotiate import choose
from xfrmctl.kernel.netlink.sa import new_sa
from xfrmctl.kernel.ownership import reqid_for
from xfrmctl.metrics.counters import EventCounters
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import InstallSas, SendDatagram
from xfrmctl.model.iana import KeGroup
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.sa import KernelSa, SaCounters, SaId, SaKeys, SaMove
from xfrmctl.model.selector import parse_selector
from xfrmctl.wire.message import decode_payloads, encode_payloads, parse
from xfrmctl.wire.payloads import Sa

LOCAL = Endpoint(IPv4Address("172.16.2.1"), 500)
FIRST_REMOTE = IPv4Address("172.18.0.1")

clock = time.thread_time_ns


def configuration(settings: Settings) -> EngineConfig:
    """One connection that takes everybody who knows the key; no limits on half-open IKE SAs."""
    child = ChildConfig(
        name="lan",
        local_ts=(parse_selector(RESPONDER_NET),),
        remote_ts=(parse_selector("10.0.0.0/8"),),
        esp=(settings.esp,),
        start=Start.NONE,
        reqid=reqid_for(1),
    )
    connection = ConnectionConfig(
        name="any",
        local=LOCAL.address,
        remote=None,
        local_id=parse_identity(f"fqdn:{RESPONDER_ID}"),
        remote_id=None,
        psk=settings.psk,
        ike=(settings.ike,),
        children=(child,),
    )
    return EngineConfig(
        connections={"any": connection},
        half_open_limit=1_000_000,
        half_open_per_source=1_000_000,
        cookie_threshold=1_000_000,
    )


@dataclass(slots=True)
class Meter:
    """Adds up the thread's CPU nanoseconds; a profiler runs only while it does."""

    profile: cProfile.Profile | None = None
    spent_ns: int = 0
    _began: int = 0

    def begin(self) -> None:
        """From here on."""
        if self.profile is not None:
            self.profile.enable()
        self._began = clock()

    def end(self) -> None:
        """Up to here."""
        self.spent_ns += clock() - self._began
        if self.profile is not None:
            self.profile.disable()


@dataclass(slots=True)
class BareEngine:
    """The engine alone: effects and events are drained and forgotten, a kernel agrees to everything."""

    engine: IkeEngine
    sent: list[bytes] = field(default_factory=list)
    _now: float = 0.0

    def datagram(self, local: Endpoint, remote: Endpoint, data: bytes) -> None:
        """One input and all that follows."""
        engine, now = self.engine, self._now
        engine.handle_datagram(local, remote, data, now)
        while items := engine.drain():
            for item in items:
                if isinstance(item, SendDatagram):
                    self.sent.append(item.data)
                elif isinstance(item, InstallSas):
                    engine.handle_done(item.token, None, now)


class EncodingSad:
    """Makes the netlink messages and throws them away."""

    def install(self, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        """Encode both SAs of a child."""
        for sa, keys in sas:
            new_sa(sa, keys)

    def delete(self, ids: Sequence[SaId]) -> None:
        """Nothing is ever deleted here."""

    def move(self, moves: Sequence[SaMove]) -> None:
        """Nobody moves here."""

    def dump(self) -> dict[SaId, SaCounters]:
        """Nothing is ever kept here."""
        return {}

    def gone(self, ids: Sequence[SaId]) -> list[SaId]:
        """Nothing is ever kept here."""
        return list(ids)


class SilentSad(EncodingSad):
    """A kernel that costs nothing."""

    def install(self, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        """Agree."""


def daemon_path(
    engine: IkeEngine, sent: list[bytes], loop: asyncio.AbstractEventLoop, listeners: Sequence[str]
) -> Callable[[Endpoint, Endpoint, bytes], None]:
    """The daemon's runtime with some of its listeners: of netlink, metrics, logs."""

    def send(local: Endpoint, remote: Endpoint, data: bytes, *, whole: bool = False) -> str | None:
        sent.append(data)
        return None

    bus = Bus()
    if "logs" in listeners:
        logs.configure("story", "info")
        bus.subscribe(logs.Storyteller("story").observe)
    if "metrics" in listeners:
        bus.subscribe(EventCounters(time.time).observe)
    sad = EncodingSad() if "netlink" in listeners else SilentSad()
    return Runtime(engine, sad, send, bus, loop).datagram


def handshakes(
    settings: Settings, count: int, entropy: Entropy, meter: Meter, listeners: Sequence[str] | None, first: int = 0
) -> BareEngine:
    """Drive ``count`` handshakes through a fresh engine; ``listeners`` None is the engine without the daemon."""
    bare = BareEngine(IkeEngine(configuration(settings), entropy))
    asyncio.run(_drive(bare, settings, count, entropy, meter, listeners, first))
    assert len(bare.engine.ike_sas()) == count
    return bare


async def _drive(
    bare: BareEngine,
    settings: Settings,
    count: int,
    entropy: Entropy,
    meter: Meter,
    listeners: Sequence[str] | None,
    first: int,
) -> None:
    """Each datagram is one turn of the event loop, as in the daemon; without the daemon there is no turn."""
    sent, daemon = bare.sent, listeners is not None
    deliver: Callable[[Endpoint, Endpoint, bytes], None] = bare.datagram
    if listeners is not None:
        deliver = daemon_path(bare.engine, sent, asyncio.get_running_loop(), listeners)
    for number in range(first, first + count):
        remote = Endpoint(FIRST_REMOTE + number % 65536, 500)
        shake = Handshake(settings, number, remote, LOCAL, entropy)
        for _ in range(2):
            meter.begin()
            deliver(LOCAL, remote, shake.request)
            if daemon:
                await asyncio.sleep(0)
            meter.end()
            if not any(shake.spi_r):
                shake.auth(sent.pop(), entropy)
        shake.finish(sent.pop(), verify=number == first)
        sent.clear()


LAYERS: tuple[tuple[str, tuple[str, ...] | None], ...] = (
    ("engine alone", None),
    ("+ runtime: event loop, dispatch, timers", ()),
    ("+ netlink encoding of 2 SAs", ("netlink",)),
    ("+ metrics", ("netlink", "metrics")),
    ("+ log as a story", ("netlink", "metrics", "logs")),
)


def layers(settings: Settings, count: int, rounds: int, entropy: Entropy) -> list[report.Cost]:
    """CPU microseconds per handshake of each layer, the best of some rounds."""
    found: list[report.Cost] = []
    for name, listeners in LAYERS:
        best = float("inf")
        for _ in range(rounds):
            meter = Meter()
            with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
                handshakes(settings, count, entropy, meter, listeners)
            best = min(best, meter.spent_ns / count / 1000)
            gc.collect()
        found.append(report.Cost(name, best, best - found[-1].us if found else best))
    return found


def growth(settings: Settings, count: int, entropy: Entropy) -> report.Cost:
    """A handshake when there are ``count`` IKE SAs already: what is not O(1) shows here."""
    bare = handshakes(settings, count, entropy, Meter(), None)
    late, more = Meter(), 500
    asyncio.run(_drive(bare, settings, more, entropy, late, None, count))
    us = late.spent_ns / more / 1000
    return report.Cost(f"engine alone, {count:,} IKE SAs up", us, us)


def _each(what: str, call: Callable[[], object], count: int) -> report.Cost:
    best = float("inf")
    for _ in range(3):
        began = clock()
        for _ in range(count):
            call()
        best = min(best, (clock() - began) / count / 1000)
    return report.Cost(what, best, best)


def parts(settings: Settings, count: int, entropy: Entropy) -> list[report.Cost]:
    """Codec, crypto and netlink by themselves, with the very messages of a handshake."""
    engine = IkeEngine(configuration(settings), entropy)
    bare = BareEngine(engine)
    remote = Endpoint(FIRST_REMOTE, 500)
    shake = Handshake(settings, 0, remote, LOCAL, entropy)
    request = shake.request
    bare.datagram(LOCAL, remote, request)
    answer = bare.sent.pop()
    sealed = shake.auth(answer, entropy)
    (sa,) = engine.ike_sas()
    protection, suite = sa.protect_in, sa.suite
    assert protection is not None
    assert suite is not None
    assert suite.prf is not None
    message = parse(sealed)
    assert message.sk is not None
    body, first = message.sk.offset, message.sk.first
    plaintext = protection.open(sealed, body)
    inside = decode_payloads(first, plaintext)
    engine.handle_datagram(LOCAL, remote, sealed, 0.0)
    (install,) = (i for i in engine.drain() if isinstance(i, InstallSas))
    offer = next(p for p in parse(request).payloads if isinstance(p, Sa))
    peer = settings.key.public
    group = KeGroup(settings.key.group)
    shared = bytes(32)
    key = bytes(suite.key_bits // 8 + suite.encr_facts.salt)
    integ = bytes(suite.integ_facts.key) if suite.integ_facts else b""
    sealer = Protection(suite, key, integ)
    clear = bytes(28)
    child = install.sas[0][0].suite
    prf = suite.prf
    return [
        _each("codec: parse IKE_SA_INIT", lambda: parse(request), count),
        _each(
            "codec: parse IKE_AUTH, outside and inside",
            lambda: (parse(sealed), decode_payloads(first, plaintext)),
            count,
        ),
        _each("codec: encode IKE_AUTH's payloads", lambda: encode_payloads(inside), count),
        _each("negotiate: choose a proposal", lambda: choose((settings.ike,), offer.proposals, group), count),
        _each("crypto: key pair and shared secret", lambda: generate(group, entropy).shared(peer), count),
        _each(
            "crypto: keys of the IKE SA",
            lambda: derive_ike_keys(suite, shared, shared, shared, clear[:8], clear[:8]),
            count,
        ),
        _each("crypto: keys of the CHILD SA", lambda: derive_child_keys(child, prf, shared, shared, shared), count),
        _each("crypto: two Protections", lambda: (Protection(suite, key, integ), Protection(suite, key, integ)), count),
        _each("crypto: seal", lambda: sealer.seal(clear, first, plaintext, entropy), count),
        _each("crypto: open", lambda: protection.open(sealed, body), count),
        _each("netlink: encode 2 SAs", lambda: [new_sa(*pair) for pair in install.sas], count),
    ]


def profile(settings: Settings, count: int, entropy: Entropy, *, sort: str, lines: int) -> str:
    """A cProfile table of the daemon's whole path (all listeners)."""
    profiler = cProfile.Profile()
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        handshakes(settings, count, entropy, Meter(profiler), ("netlink", "metrics", "logs"))
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats(sort).print_stats(lines)
    return text.getvalue()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.engine", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-n", "--count", type=int, default=1000, help="handshakes of one round (default 1000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each layer, the best counts (default 5)")
    parser.add_argument("--ike", default=IKE_SUITE, help=f"IKE proposal (default {IKE_SUITE})")
    parser.add_argument("--esp", default=ESP_SUITE, help=f"ESP proposal (default {ESP_SUITE})")
    parser.add_argument("--grown", type=int, default=10_000, help="IKE SAs for the growth figure, 0 for none")
    parser.add_argument("--profile", action="store_true", help="print a cProfile table of the daemon's path instead")
    parser.add_argument("--sort", default="tottime", help="order of the profile: tottime, cumulative, calls")
    parser.add_argument("--lines", type=int, default=45, help="lines of the profile")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    options = parser.parse_args(argv)
    entropy: Entropy = os.urandom
    settings = Settings.of(options.ike, options.esp, entropy)
    if options.profile:
        print(profile(settings, options.count, entropy, sort=options.sort, lines=options.lines))
        return 0
    gc.collect()
    gc.freeze()
    cumulative = layers(settings, options.count, options.rounds, entropy)
    if options.grown:
        cumulative.append(growth(settings, options.grown, entropy))
    single = parts(settings, options.count, entropy)
    report.costs(cumulative, single, suite=f"{options.ike} / {options.esp}")
    if options.json:
        report.write_json(options.json, report.costs_json(cumulative, single))
    return 0


if __name__ == "__main__":
    sys.exit(main())
