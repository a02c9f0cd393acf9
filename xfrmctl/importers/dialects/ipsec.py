"""What the two products have in common that read ipsec.conf and ipsec.secrets."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from xfrmctl.importers.dialects import keys
from xfrmctl.importers.dialects.options import Options, Table
from xfrmctl.importers.dialects.sides import HOST, Sides, sides
from xfrmctl.importers.dialects.source import Source
from xfrmctl.importers.neutral import Lifetime, Psk
from xfrmctl.importers.origin import Place, Setting, Told
from xfrmctl.importers.report import Fate, Report
from xfrmctl.importers.syntax import ipsec_secrets
from xfrmctl.importers.syntax.ipsec_conf import Block, Blocks, effective, option, parse
from xfrmctl.importers.words import times
from xfrmctl.importers.words.selectors import protoport

_KEYS = ("RSA", "ECDSA", "PKCS8", "BLISS", "P12", "PKCS12")
TENTH = 10


@dataclass(slots=True)
class Conn:
    """One conn section with all that holds for it; three sets of options: common, of our end, of theirs."""

    name: str
    place: Place
    settings: dict[str, Setting]
    common: Options
    local: Options
    remote: Options
    sides: Sides


class IpsecFiles:
    """ipsec.conf and ipsec.secrets of one machine."""

    def __init__(self, source: Source, identity: Callable[[str], str], *, last_also_wins: bool) -> None:
        """``identity`` spells owners of secrets as ours are; it raises ValueError. Raises ImportFault."""
        self.source, self._last = source, last_also_wins
        self.blocks: Blocks = parse(source.text, source.name, source.include)
        self.psks: list[Psk] = []
        self.key_files: list[str] = []
        self._identity = identity
        self._read_secrets()

    # ---- sections ---------------------------------------------------------------------------------------------

    def conns(self, common: Table, end: Table) -> Iterator[Conn]:
        """The connections, in the order of the file."""
        for block in self.blocks.of("conn"):
            yield self._conn(block, common, end)

    def section(self, block: Block) -> dict[str, Setting]:
        """What holds for a section, with its ``also`` and defaults."""
        found = effective(self.blocks, block, last_also_wins=self._last)
        for former, later in found.lost:
            why = f"{later.place} says it again, and the later one holds"
            self.source.report.tell(Fate.DROPPED, former, why=why)
        for setting in found.used:
            if option(setting) in ("also", "alsoflip"):
                why = "its settings count as written here"
                self.source.report.tell(Fate.MAPPED, setting, why=why, connection=block.name)
        return {name: setting for name, setting in found.settings.items() if not self._is_comment(name, setting, block)}

    def _is_comment(self, name: str, setting: Setting, block: Block) -> bool:
        """``x-anything`` and ``x_anything`` are a user's own words in both dialects."""
        if name.startswith(("x-", "x_")):
            self.source.report.tell(Fate.DROPPED, setting, why="a comment, there as well", connection=block.name)
            return True
        return False

    def setup(self, table: Table) -> Options:
        """``config setup``."""
        block = self.blocks.found.get(("config", "setup"))
        return Options(self.section(block) if block else {}, table, self.source.report)

    def is_template(self, name: str) -> bool:
        """Whether another section says ``also`` to it."""
        every = (s for b in self.blocks.found.values() for s in b.settings if option(s) in ("also", "alsoflip"))
        return any(name in (n.strip() for n in setting.value.split(",")) for setting in every)

    def _conn(self, block: Block, common: Table, end: Table) -> Conn:
        settings = self.section(block)
        report, name = self.source.report, block.name
        found = sides(settings, self.source.ours, open_is_remote=not self._last)
        return Conn(
            name=name,
            place=block.place,
            settings=settings,
            common=Options(found.common, common, report, name),
            local=Options(found.local, end, report, name),
            remote=Options(found.remote, end, report, name),
            sides=found,
        )

    def not_loaded(self, conn: Conn, setting: Setting | None) -> None:
        """``auto=ignore``, which is the default: there it is not loaded either."""
        if self.is_template(conn.name):
            return
        why, todo = "auto=ignore: it is not loaded there either", "write auto=add and import again, if it is wanted"
        if setting is not None:
            self.source.report.tell(Fate.DROPPED, setting, why=why, todo=todo, connection=conn.name)
        else:
            name = f"conn {conn.name}"
            self.source.report.tell(Fate.DROPPED, None, option=name, why=why, todo=todo, connection=conn.name)

    def tell_guess(self, conn: Conn) -> None:
        """Which end is ours was not known."""
        if conn.sides.guessed:
            why = "left is taken for this gateway, for neither address is known to be its own"
            todo = "if it is right, import again with --local ADDRESS"
            name = f"conn {conn.name}"
            self.source.report.tell(Fate.CHANGED, None, option=name, why=why, todo=todo, connection=conn.name)

    # ---- secrets ----------------------------------------------------------------------------------------------

    def _read_secrets(self) -> None:
        """ipsec.secrets, beside ipsec.conf if nothing else is said; without it there are none."""
        path = self.source.secrets or self.source.files.base / "ipsec.secrets"
        if self.source.secrets is None and not path.exists():
            return
        for entry in ipsec_secrets.parse(self.source.files.text(path), str(path), self.source.include):
            if entry.kind == "PSK":
                self._psk(entry)
            elif entry.kind in _KEYS:
                self._key(entry)
            else:
                why, todo = f"secrets of the kind {entry.kind} are not used here", "use psk or pubkey"
                self.source.report.tell(Fate.DROPPED, entry.setting, why=why, todo=todo)

    def _psk(self, entry: ipsec_secrets.Entry) -> None:
        try:
            key = keys.quoted_or_not(entry.setting.value, quoted=entry.quoted)
            owners = tuple(self._identity(owner) for owner in entry.owners)
        except ValueError as error:
            self.source.report.tell(Fate.DECIDE, entry.setting, why=f"the secret: {error}", todo="write it again")
            return
        self.psks.append(Psk(owners=owners, key=key, setting=entry.setting))

    def _key(self, entry: ipsec_secrets.Entry) -> None:
        """The file of a private key: whose it is, its certificate says."""
        if entry.setting.value.startswith("{"):
            why, todo = "private keys that stand in the file cannot be read here", "make a new key pair"
            self.source.report.tell(Fate.DECIDE, entry.setting, why=why, todo=todo)
            return
        self.key_files.append(entry.setting.value)
        if entry.more:
            why, todo = "private keys are not encrypted here", "decrypt it: openssl pkey -in OLD -out NEW"
            self.source.report.tell(Fate.CHANGED, entry.setting, why=why, todo=todo)
        else:
            self.source.report.tell(Fate.MAPPED, entry.setting, why="taken by those whose certificate it fits")

    @property
    def base(self) -> Path:
        """The directory of certificates and keys."""
        return self.source.files.base / "ipsec.d"


def subnets(options: Options, read: Callable[[str], tuple[str, ...]]) -> Told[tuple[str, ...]]:
    """``subnet`` with ``protoport``; without the one it is the gateway itself."""
    suffix = options.told("protoport", "", protoport)
    default: tuple[str, ...] = ("dynamic",)
    told = options.told("subnet", default, read)
    if suffix.setting is None or not suffix.value:
        return told
    if told.setting is not None:
        options.part(suffix.setting, "it is in the selectors")
    values = tuple(ts if "[" in ts else ts + suffix.value for ts in told.value)
    return Told(values, told.setting or suffix.setting)


@dataclass(frozen=True, slots=True)
class Margins:
    """When before its end something is rekeyed: ``margin``, and up to ``fuzz`` hundredths of it more."""

    margin: Told[int]
    fuzz: Told[int]
    rekeys: Told[bool]

    def of(self, life: Told[int], margin: Told[int] | None = None) -> Lifetime:
        """The lifetime of what ends after ``life``."""
        before = margin or self.margin
        if not life.value or not self.rekeys.value:
            return Lifetime(rekey=Told(0, self.rekeys.setting), hard=life)
        latest = life.value - before.value
        if latest <= 0:
            latest = life.value * 9 // TENTH
        earliest = max(0, latest - before.value * self.fuzz.value // 100)
        return Lifetime(
            rekey=Told(latest, life.setting or before.setting),
            hard=life,
            earliest=Told(earliest, self.fuzz.setting) if self.fuzz.setting else None,
        )


def percent(text: str) -> int:
    """``100%``."""
    return times.number(text.strip().removesuffix("%"))


def tell_margin(report: Report, told: Told[int], conn: str) -> None:
    """A margin is part of the lifetimes that are told of."""
    if told.setting is not None:
        report.tell(Fate.MAPPED, told.setting, why="it is rekeyed that much before its end", connection=conn)


def tell_rekeys(report: Report, told: Told[bool], conn: str) -> None:
    """``rekey=yes`` is the case anyway; ``no`` is told of with the lifetimes."""
    if told.setting is not None and told.value:
        report.tell(Fate.MAPPED, told.setting, why="as it is here", connection=conn)


def hosts(text: str) -> tuple[str, ...]:
    """``left``: addresses, names, ``%any``, ``%defaultroute``."""
    found: list[str] = []
    for word in (w.strip() for w in text.split(",")):
        if word.lower() in ("%any", "%any4", "%any6", "%defaultroute", "0.0.0.0", "::", "0.0.0.0/0", "::/0"):
            found.append("any")
        elif word:
            found.append(word.removeprefix("%"))
    return tuple(found) or ("any",)


def host_of(options: Options) -> Told[tuple[str, ...]]:
    """The addresses of one end."""
    return options.told(HOST, ("any",), hosts)


def tell_rest(conn: Conn) -> None:
    """Whatever nobody has asked for."""
    for options in (conn.common, conn.local, conn.remote):
        options.rest()
