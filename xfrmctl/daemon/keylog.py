"""Keys for Wireshark, where the configuration allows it and somebody asks for them: the one place that writes secrets.

A directory that ``gateway.key_log`` names gets the two tables that Wireshark reads from its own configuration, so that
it can be used as that: ``WIRESHARK_CONFIG_DIR=DIRECTORY tshark -o esp.enable_encryption_decode:TRUE -r FILE``. They
are named, spelled and quoted as Wireshark wants it (``epan/dissectors/packet-isakmp.c``, ``packet-ipsec.c``).
Whoever reads them reads the traffic: mode 0600, appended to, never followed through a link, deleted by the operator.
"""

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from xfrmctl.ike.config import ConnectionConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.ike.sa import IkeSa
from xfrmctl.model.errors import XfrmctlError
from xfrmctl.model.events import Event, MessageReceived, MessageSent
from xfrmctl.model.iana import Encr, Integ, ProtocolId
from xfrmctl.model.sa import KernelSa, SaKeys
from xfrmctl.model.suite import Suite

IKE_TABLE, ESP_TABLE = "ikev2_decryption_table", "esp_sa"

_IKE_INTEG = {
    None: "NONE [RFC4306]",
    Integ.HMAC_SHA2_256_128: "HMAC_SHA2_256_128 [RFC4868]",
    Integ.HMAC_SHA2_384_192: "HMAC_SHA2_384_192 [RFC4868]",
    Integ.HMAC_SHA2_512_256: "HMAC_SHA2_512_256 [RFC4868]",
}
_IKE_ENCR = {
    Encr.AES_GCM_16: "AES-GCM-{} with 16 octet ICV [RFC5282]",
    Encr.AES_CBC: "AES-CBC-{} [RFC3602]",
}
_ESP_ENCR = {
    Encr.AES_GCM_16: "AES-GCM with 16 octet ICV [RFC4106]",
    Encr.AES_CBC: "AES-CBC [RFC3602]",
    Encr.NULL: "NULL",
}
_ESP_INTEG = {
    None: "NULL",
    Integ.HMAC_SHA2_256_128: "HMAC-SHA-256-128 [RFC4868]",
    Integ.HMAC_SHA2_384_192: "HMAC-SHA-384-192 [RFC4868]",
    Integ.HMAC_SHA2_512_256: "HMAC-SHA-512-256 [RFC4868]",
}


class KeyLogError(XfrmctlError):
    """The tables cannot be written; says why, and what to do."""


Pair = tuple[bytes, bytes]
"""The initiator's and the responder's."""


def ike_line(suite: Suite, spis: Pair, encryption: Pair, integrity: Pair) -> str:
    """A line of ``ikev2_decryption_table``; a comment where Wireshark has no name for the suite."""
    if not _has_name(suite):
        return f"# IKE SA {spis[0].hex()} {spis[1].hex()}: Wireshark cannot decrypt {suite}"
    cipher = _IKE_ENCR[suite.encr].format(suite.key_bits)
    fields = [*(spi.hex() for spi in spis), *(key.hex() for key in encryption), f'"{cipher}"']
    return ",".join([*fields, *(key.hex() for key in integrity), f'"{_IKE_INTEG[suite.integ]}"'])


def esp_line(sa: KernelSa, keys: SaKeys) -> str:
    """A line of ``esp_sa``; a comment where Wireshark has no name for the suite."""
    if not _has_name(sa.suite):
        return f"# {sa.id}: Wireshark cannot decrypt {sa.suite}"
    fields = (
        "IPv4" if sa.destination.version == 4 else "IPv6",
        str(sa.source),
        str(sa.destination),
        f"{sa.spi:#010x}",
        _ESP_ENCR[sa.suite.encr],
        _hex(keys.encryption),
        _ESP_INTEG[sa.suite.integ],
        _hex(keys.integrity),
    )
    return ",".join(f'"{field}"' for field in fields)


def left_out(config: ConnectionConfig) -> list[str]:
    """The suites of a connection, as it is configured, that the tables cannot name: of these no key is written."""
    proposals = (*config.ike, *(proposal for child in config.children for proposal in child.esp))
    suites = (suite for proposal in proposals for suite in proposal.suites())
    return list(dict.fromkeys(f"{suite.protocol.name} {suite}" for suite in suites if not _has_name(suite)))


def _has_name(suite: Suite) -> bool:
    """Whether every Wireshark since 4.0 can be told of a suite.

    Newer ones have a name for ChaCha20 in ESP, but an older one that meets a name it does not know reads no further,
    and then has no SA at all.
    """
    if suite.protocol == ProtocolId.IKE:
        return suite.encr in _IKE_ENCR and suite.integ in _IKE_INTEG
    return suite.protocol == ProtocolId.ESP and suite.encr in _ESP_ENCR and suite.integ in _ESP_INTEG


def _hex(key: bytes) -> str:
    return f"0x{key.hex()}" if key else ""


class KeyLog:
    """Writes the keys of connections that somebody asked for, as they are made."""

    def __init__(self, engine: IkeEngine, directory: Callable[[], Path | None], now: Callable[[], float]) -> None:
        """``directory`` is what the configuration in force names, None where it allows nothing."""
        self._engine = engine
        self._directory = directory
        self._now = now
        self._until: dict[str, float] = {}
        self._written: set[tuple[bytes, bytes]] = set()
        self.trouble: Callable[[str], None] = lambda _: None

    @property
    def directory(self) -> Path | None:
        """Where the tables are; None where the configuration does not allow any."""
        return self._directory()

    def start(self, connection: str, until: float) -> None:
        """Log the keys of a connection till then, monotonic seconds; those of its IKE SAs at once.

        Raises KeyLogError.
        """
        for sa in self._engine.ike_sas(connection):
            self._ike(sa)
        self._append(ESP_TABLE, [])
        self._until[connection] = until

    def stop(self, connection: str) -> None:
        """No more."""
        self._until.pop(connection, None)

    def _wanted(self, connection: str) -> bool:
        return self._until.get(connection, 0.0) > self._now() and self.directory is not None

    def observe(self, event: Event) -> None:
        """An IKE SA has keys from its first protected message on."""
        if self._until and isinstance(event, MessageSent | MessageReceived):
            sa = self._engine.probes.find(event.ike)
            if sa is not None and any(map(self._wanted, _names(sa))):
                self._try(lambda: self._ike(sa))

    def installed(self, sas: Sequence[tuple[KernelSa, SaKeys]]) -> None:
        """The kernel has taken SAs."""
        if not self._until:
            return
        lines = [esp_line(sa, keys) for sa, keys in sas if self._wanted(self._engine.connection_of(sa.id))]
        if lines:
            self._try(lambda: self._append(ESP_TABLE, lines))

    def _ike(self, sa: IkeSa) -> None:
        keys, spis = sa.keys, (sa.spi_i, sa.spi_r)
        if keys is None or sa.suite is None or spis in self._written:
            return
        self._append(IKE_TABLE, [ike_line(sa.suite, spis, (keys.ei, keys.er), (keys.ai, keys.ar))])
        self._written.add(spis)

    def _try(self, write: Callable[[], None]) -> None:
        """A full disk must not end a negotiation."""
        try:
            write()
        except KeyLogError as error:
            self._until.clear()
            self.trouble(str(error))

    def _append(self, name: str, lines: Sequence[str]) -> None:
        directory = self.directory
        if directory is None:
            raise KeyLogError("the configuration allows no key log; name a directory in gateway.key_log")
        path = directory / name
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise KeyLogError(f"{path}: {error.strerror}; name another directory in gateway.key_log") from None
        with os.fdopen(descriptor, "w") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise KeyLogError(f"{path}: others may read it; take it away: rm {path}")
            try:
                file.write("".join(f"{line}\n" for line in lines))
                file.flush()
            except OSError as error:
                raise KeyLogError(f"{path}: {error.strerror}; make room, or name another directory") from None


def _names(sa: IkeSa) -> list[str]:
    return [sa.connection] if sa.config is not None else [c.name for c in sa.candidates]
