"""The files of the other product: bounded reading, and includes that lead nowhere but where the user has pointed.

A configuration may come from somebody else. Its ``include`` is followed beneath the directory of the file that the
user has named (symbolic links resolved) and beneath the directories that he allows; elsewhere it is refused, and
reported. With ``root`` absolute paths start there: for a copy of another machine's /etc.
"""

import glob
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xfrmctl.importers.origin import ImportFault, Place
from xfrmctl.model.errors import UnusableInput

MAX_DEPTH = 8
"""Of includes in includes. strongSwan stops at 10."""

MAX_FILES = 1000
MAX_BYTES = 16 * 2**20
MAX_CREDENTIAL = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Refused:
    """An include that was not followed."""

    place: Place
    pattern: str
    why: str


@dataclass(slots=True)
class Files:
    """Reads; counts what it has read."""

    main: Path
    root: Path | None = None
    follow: Sequence[Path] = ()
    refused: list[Refused] = field(default_factory=list)
    _files: int = 0
    _bytes: int = 0

    @property
    def base(self) -> Path:
        """The directory of the main file."""
        return self.main.parent

    def text(self, path: Path) -> str:
        """A file's text. Raises UnusableInput for one that cannot be read, and where there are too many."""
        self._files += 1
        content = self._content(path, MAX_BYTES)
        self._bytes += len(content)
        if self._files > MAX_FILES or self._bytes > MAX_BYTES:
            raise UnusableInput(f"{path}: more than {MAX_FILES} files or {MAX_BYTES >> 20} MiB: is it the right file?")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ImportFault(Place(str(path), line), "not UTF-8 text", "save the file as UTF-8") from None

    def included(self, pattern: str, place: Place, depth: int) -> list[Path]:
        """What an ``include`` names, in the order of the shell. Raises ImportFault where it goes too deep."""
        if depth >= MAX_DEPTH:
            raise ImportFault(place, f"includes go deeper than {MAX_DEPTH}", "does a file include itself?")
        start = self.absolute(pattern, Path(place.file).parent)
        found = sorted(glob.glob(str(start)))[: MAX_FILES + 1]  # noqa: PTH207  absolute patterns, and sh's rules
        inside = [Path(name) for name in found if self._allowed(Path(name)) and Path(name).is_file()]
        if not found and not glob.has_magic(pattern):
            self.refused.append(Refused(place, pattern, "there is no such file here"))
        elif len(inside) < len(found) or (not found and not self._allowed(start.parent)):
            self.refused.append(Refused(place, pattern, "it leads out of the directory of the file that was named"))
        return inside

    def absolute(self, name: str, base: Path) -> Path:
        """A path of a configuration: relative ones start at ``base``, absolute ones at ``root``."""
        path = Path(name)
        if not path.is_absolute():
            return base / path
        return self.root / path.relative_to("/") if self.root else path

    def credential(self, path: Path) -> bytes | None:
        """The content of a small file that a configuration names; None where it cannot be had.

        Whoever asks looks whether it is what it should be, and keeps nothing else.
        """
        try:
            return self._content(path, MAX_CREDENTIAL)
        except UnusableInput:
            return None

    def listed(self, directory: Path) -> list[Path]:
        """The files in a directory, sorted; none where there is no such directory."""
        try:
            return sorted(path for path in directory.iterdir() if path.is_file())[:MAX_FILES]
        except OSError:
            return []

    def _allowed(self, path: Path) -> bool:
        real = path.resolve()
        return any(real.is_relative_to(directory.resolve()) for directory in (self.base, *self.follow))

    @staticmethod
    def _content(path: Path, most: int) -> bytes:
        try:
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnusableInput(f"{path}: no ordinary file; name the file itself")
            with path.open("rb") as stream:
                content = stream.read(most + 1)
        except OSError as error:
            raise UnusableInput(f"{path}: {error.strerror}") from None
        if len(content) > most:
            raise UnusableInput(f"{path}: larger than {most >> 10} KiB: is it the right file?")
        return content
