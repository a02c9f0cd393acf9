"""Certificates and keys that configurations name, or that lie in the directories of a product."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xfrmctl.importers.files import Files
from xfrmctl.importers.neutral import Blob


@dataclass(slots=True)
class Folders:
    """The directories of a product, each read once."""

    files: Files
    base: Path
    _read: dict[str, tuple[Blob, ...]] = field(default_factory=dict)

    def named(self, names: Iterable[str], *folders: str) -> tuple[Blob, ...]:
        """What a list of names stands for; relative ones are looked for in ``folders`` in turn."""
        return tuple(self._one(name, folders) for name in names)

    def all(self, *folders: str) -> tuple[Blob, ...]:
        """Everything that lies in ``folders``."""
        found: list[Blob] = []
        for folder in folders:
            if folder not in self._read:
                paths = self.files.listed(self.base / folder)
                self._read[folder] = tuple(Blob(name=p.name, content=self.files.credential(p)) for p in paths)
            found += self._read[folder]
        return tuple(found)

    def _one(self, name: str, folders: Sequence[str]) -> Blob:
        for folder in folders:
            path = self.files.absolute(name, self.base / folder)
            content = self.files.credential(path)
            if content is not None:
                return Blob(name=path.name, content=content)
        return Blob(name=Path(name).name, content=None)


def words(text: str) -> tuple[str, ...]:
    """A list with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
