"""All connections: names, peers that stand twice, policies, and whatever nobody has spoken of."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from xfrmctl.importers.mapping.child import Ends, is_empty, settings_of, shunt, write_child
from xfrmctl.importers.mapping.connection import write_connection
from xfrmctl.importers.mapping.draft import Draft, FileValue, Key, Line, Tree, Value, Written, leaves
from xfrmctl.importers.mapping.names import name_of
from xfrmctl.importers.neutral import Child, Connection, Plan
from xfrmctl.importers.origin import Setting
from xfrmctl.importers.report import Fate, Report

_SHUNTS = ("pass", "drop")
_WHO: tuple[Key, ...] = (("local",), ("remote",), ("auth", "ca"), ("auth", "remote_pubkey"), ("auth", "pubkey"))


@dataclass(slots=True)
class Result:
    """Our configuration as a tree, and the files that go with it, by their paths from it on."""

    tree: Tree = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    left_out: list[str] = field(default_factory=list)


def convert(plan: Plan, report: Report) -> Result:
    """The configuration of a plan; the report gets a line for every setting."""
    maker = _Maker(plan, report)
    for connection in plan.connections:
        maker.add(connection)
    return maker.finish()


class _Maker:
    """The configuration so far."""

    def __init__(self, plan: Plan, report: Report) -> None:
        self._plan, self._report = plan, report
        self._drafts: dict[str, Draft] = {}
        self._policies: Tree = {}
        self._files: dict[str, bytes] = {}
        self._left_out: list[str] = []

    def add(self, connection: Connection) -> None:
        """One connection of theirs: a connection, children of a former one, policies, or nothing."""
        if connection.hurdle is not None:
            setting, why, todo = connection.hurdle
            self._leave_out(connection, setting, why, todo)
            return
        draft = Draft(name_of(connection.name, self._drafts), self._plan.product, files=self._files)
        children = [child for child in connection.children if child.mode.value not in _SHUNTS]
        shunts = [child for child in connection.children if child.mode.value in _SHUNTS]
        ends = write_connection(draft, connection)
        for child in shunts:
            self._shunt(child, ends, connection.name)
        if shunts and not children:
            for setting in self._unspoken(connection.settings):
                why = "only policies are left of this connection"
                self._report.tell(Fate.MAPPED, setting, why=why, connection=connection.name)
            return
        before = list(draft.lines)
        twin = next((d for d in self._drafts.values() if _who(d) == _who(draft)), None)
        target = twin or draft
        for child in children:
            taken = target.find(("children",))
            name = name_of(child.name, taken if isinstance(taken, dict) else {})
            if not write_child(target, name, child, ends):
                self._without(child, connection.name)
        if is_empty(target):
            self._nothing(draft, connection)
        elif twin is not None:
            self._into(twin, draft, before, connection)
        else:
            self._drafts[draft.name] = draft
            draft.flush(self._report, connection.name)

    def _into(self, twin: Draft, draft: Draft, lines: Iterable[Line], connection: Connection) -> None:
        """Two of theirs have one peer: here it is one connection with the children of both."""
        why = f"it has the same peer as {twin.name}, and becomes children of it"
        self._report.tell(Fate.CHANGED, None, option=connection.name, to=f"connections.{twin.name}", why=why)
        for line in lines:
            here, there = draft.find(line.key), twin.find(line.key)
            differs = isinstance(here, Written) and (not isinstance(there, Written) or not self._same(here, there))
            if line.setting is None and not (differs or line.fate is Fate.DECIDE):
                continue
            fate = Fate.CHANGED if differs else line.fate
            reason = f"{twin.name} says otherwise, and has the same peer" if differs else line.why
            to = ".".join(("connections", twin.name, *line.key)) if line.key else ""
            option = ".".join(line.key)
            self._report.tell(
                fate, line.setting, option=option, to=to, why=reason, todo=line.todo, connection=connection.name
            )
        twin.flush(self._report, connection.name)

    def _same(self, one: Written, other: Written) -> bool:
        """Files are the same by what is in them."""
        if isinstance(one.value, FileValue) and isinstance(other.value, FileValue):
            return self._files.get(one.value.path) == self._files.get(other.value.path)
        return one.value == other.value

    def _nothing(self, draft: Draft, connection: Connection) -> None:
        """No child could be written; what was said of the children stands."""
        for line in draft.lines:
            if line.fate is Fate.DECIDE:
                key = ".".join(line.key)
                self._report.tell(
                    line.fate, line.setting, option=key, why=line.why, todo=line.todo, connection=connection.name
                )
        why, todo = "no child of it can be written", "see what has to be decided, and write it by hand"
        self._leave_out(connection, None, why, todo)

    def _leave_out(self, connection: Connection, setting: Setting | None, why: str, todo: str) -> None:
        self._left_out.append(f"{connection.name}: {why}")
        name = connection.name
        if setting is None:
            self._report.tell(Fate.DECIDE, None, option=f"connection {name}", why=why, todo=todo, connection=name)
        else:
            self._report.tell(
                Fate.DECIDE, setting, why=f"{why}: the connection is left out", todo=todo, connection=name
            )
        for other in self._unspoken(connection.settings):
            self._report.tell(Fate.DROPPED, other, why="its connection is left out", connection=name)

    def _without(self, child: Child, connection: str) -> None:
        for setting in self._unspoken(settings_of(child)):
            self._report.tell(Fate.DROPPED, setting, why=f"the child {child.name} is left out", connection=connection)

    def _shunt(self, child: Child, ends: Ends, connection: str) -> None:
        found = shunt(child, ends)
        if isinstance(found, str):
            for setting in settings_of(child):
                self._report.tell(Fate.DROPPED, setting, why=f"no policy is made of it: {found}", connection=connection)
            return
        name = name_of(child.name, self._policies)
        action, local_ts, remote_ts = found
        place = str(child.mode.setting.place) if child.mode.setting else ""
        self._policies[name] = {
            "action": Written(action, place),
            "local_ts": Written(local_ts),
            "remote_ts": Written(remote_ts),
        }
        for setting in settings_of(child):
            why = "a policy: it is there without a peer"
            self._report.tell(Fate.MAPPED, setting, to=f"policies.{name}", why=why, connection=connection)

    def _unspoken(self, settings: Iterable[Setting]) -> list[Setting]:
        return [setting for setting in settings if not self._report.has(setting)]

    def finish(self) -> Result:
        """The whole of it."""
        for setting in self._unspoken(self._plan.settings):
            self._report.tell(Fate.DROPPED, setting, why="nothing that is taken over uses it")
        tree: Tree = {}
        if self._policies:
            tree["policies"] = self._policies
        if self._drafts:
            tree["connections"] = {name: _ordered(draft.tree) for name, draft in self._drafts.items()}
        named = {path for _, leaf in leaves(tree) for path in _paths(leaf.value)}
        files = {name: content for name, content in self._files.items() if name in named}
        return Result(tree, files, self._left_out)


def _who(draft: Draft) -> list[object]:
    """What tells one peer from another, as the check of the configuration has it."""
    found: list[object] = []
    for key in _WHO:
        part = draft.find(key)
        tree: Tree = part if isinstance(part, dict) else {"": part} if part is not None else {}
        found.append([(k, leaf.value) for k, leaf in leaves(tree)])
    return found


def _ordered(tree: Tree) -> Tree:
    """In the order in which people write it."""
    order = ("local", "remote", "auth", "ike", "retry", "unique", "children")
    return {name: tree[name] for name in order if name in tree}


def _paths(value: Value) -> list[str]:
    if isinstance(value, FileValue):
        return [value.path]
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []
