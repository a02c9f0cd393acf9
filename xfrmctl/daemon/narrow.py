"""Paths on which IPv6 inside has less than the 1,280 bytes that every IPv6 link must carry (RFC 8200 5).

Hosts do not heed a Packet Too Big below 1,280, so what is larger than the inner MTU is lost for good. TCP is saved by
its MSS. For all else a tunnel must fragment outside (RFC 2473 7.1), and with IPv4 outside routers can do it: where ESP
has no DF, and where the kernel lets it go, which it does by the route to the peer. So for the time being all SAs on
such a path clear DF, for they share the route; and when they do, the route says what 1,280 bytes inside need. It is
locked, or else errors about other packets would teach the kernel what the path really carries.

It is of no use where the first link is the narrow one, or with IPv6 outside, which no router fragments: that is an
alarm (:func:`xfrmctl.daemon.fragmentation.squeezed`).
"""

from xfrmctl.daemon.fragmentation import Squeeze
from xfrmctl.model.path import Path


class NarrowPaths:
    """Who goes which path, and who of them needs more of it than it carries."""

    def __init__(self) -> None:
        self._goes: dict[int, Path] = {}
        self._users: dict[Path, set[int]] = {}
        self._needs: dict[Path, dict[int, int]] = {}
        self._changed: set[Path] = set()
        self._told: dict[int, str] = {}

    def note(self, reqid: int, path: Path | None, need: int | None) -> None:
        """A child goes this path, or none; it needs so many bytes outside (None: what there is will do)."""
        before = self._goes.get(reqid)
        if before is not None and before != path:
            self._users[before].discard(reqid)
            if not self._users[before]:
                del self._users[before]
            self._need(before, reqid, None)
            del self._goes[reqid]
        if path is not None:
            self._goes[reqid] = path
            self._users.setdefault(path, set()).add(reqid)
            self._need(path, reqid, need)

    def _need(self, path: Path, reqid: int, need: int | None) -> None:
        before = self.need(path)
        needs = self._needs.setdefault(path, {})
        if need is not None:
            needs[reqid] = need
        else:
            needs.pop(reqid, None)
        if not needs:
            del self._needs[path]
        if self.need(path) != before:
            self._changed.add(path)

    def need(self, path: Path) -> int | None:
        """What the route to the peer is to say, bytes; None for what the path carries."""
        needs = self._needs.get(path)
        return max(needs.values()) if needs else None

    def news(self, reqid: int, squeeze: Squeeze | None) -> str | None:
        """What to tell about a child's room for IPv6; None where that has been told."""
        words = str(squeeze) if squeeze is not None else ""
        if words == self._told.get(reqid, ""):
            return None
        if words:
            self._told[reqid] = words
        else:
            del self._told[reqid]
        return f"IPv6 inside: {words or 'there is room again'}"

    def changed(self) -> set[int]:
        """Who goes a path whose need is another one than at the last call."""
        found = {reqid for path in self._changed for reqid in self._users.get(path, ())}
        self._changed.clear()
        return found

    @property
    def clear(self) -> frozenset[int]:
        """Whose SAs are to clear DF."""
        return frozenset(reqid for path in self._needs for reqid in self._users.get(path, ()))
