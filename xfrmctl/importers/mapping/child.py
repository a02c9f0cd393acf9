"""Children: selectors, proposals, lifetimes, marks; and the policies that bypass and discard."""

from dataclasses import dataclass

from xfrmctl.config.numbering import is_ours
from xfrmctl.importers.mapping.draft import Draft, Key, Written
from xfrmctl.importers.neutral import Child, Lifetime, Offer
from xfrmctl.importers.origin import Setting, Told
from xfrmctl.importers.report import Fate
from xfrmctl.importers.words.selectors import DYNAMIC
from xfrmctl.importers.words.times import spelled

_MODES = {"tunnel": "tunnel", "transport": "transport-or-tunnel", "only-transport": "transport"}
MAX_WINDOW = 4096
TENTH = 10


@dataclass(frozen=True, slots=True)
class Ends:
    """The addresses of the two gateways; None is any."""

    local: str | None
    remote: str | None


def write_child(draft: Draft, name: str, child: Child, ends: Ends) -> bool:
    """Write a child under ``name``; False where it cannot be, which is told."""
    key: Key = ("children", name)
    mode = _MODES.get(child.mode.value)
    if mode is None:
        why = f"the mode {child.mode.value} does not exist here"
        draft.say(Fate.DECIDE, child.mode.setting, key, why=why, todo="use tunnel or transport at both ends")
        return False
    if not _selectors(draft, key, child, ends, transport=mode != "tunnel"):
        draft.remove(key)
        return False
    draft.put((*key, "mode"), mode, child.mode)
    write_offer(draft, (*key, "ah") if child.ah else (*key, "esp"), child.ah or child.esp)
    if child.ah and child.esp.setting is not None:
        draft.say(Fate.DROPPED, child.esp.setting, why="a child is either ESP or AH, and AH is written")
    _start(draft, key, child, ends)
    _times(draft, key, child.time)
    _limits(draft, key, "bytes", child.bytes)
    _limits(draft, key, "packets", child.packets)
    _kernel(draft, key, child)
    return True


def _selectors(draft: Draft, key: Key, child: Child, ends: Ends, *, transport: bool) -> bool:
    """Both sides; ``dynamic`` becomes the gateway's address, if that is known."""
    done = True
    sides: list[tuple[str, Told[tuple[str, ...]], list[str]]] = []
    for side, told, address in (("local", child.local_ts, ends.local), ("remote", child.remote_ts, ends.remote)):
        if transport and told.value == (DYNAMIC,):
            if told.setting is not None:
                draft.say(Fate.MAPPED, told.setting, why="in transport mode it goes without saying")
            continue
        open_ends = [ts for ts in told.value if ts.startswith(DYNAMIC)]
        if open_ends and address is None:
            why = f"it stands for an address that {side}.address does not tell"
            todo = f"write {side}_ts, and add the child {key[1]}"
            draft.say(Fate.DECIDE, told.setting, (*key, f"{side}_ts"), why=why, todo=todo)
            done = False
            continue
        values = [ts.replace(DYNAMIC, _host(address or "")) for ts in told.value]
        sides.append((side, told, list(dict.fromkeys(values))))
    families = [{":" in ts for ts in values} for _, _, values in sides]
    for side, told, values in sides:
        kept = [ts for ts in values if all((":" in ts) in family for family in families)] or values
        why = "" if kept == values else "the other side has nothing of the family of the rest"
        draft.put((*key, f"{side}_ts"), list(kept), told, why=why)
    return done


def _host(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def write_offer(draft: Draft, key: Key, told: Told[Offer]) -> None:
    """Proposals; what of theirs is lost is told."""
    offer = told.value
    lost = "; ".join(offer.lost)
    if offer.proposals:
        draft.put(key, list(offer.proposals), told, why=lost, keep=True)
        return
    why = f"nothing of it is offered here: {lost}"
    draft.say(
        Fate.DECIDE, told.setting, key, why=why, todo="agree on others with the peer; ours are offered until then"
    )


def _start(draft: Draft, key: Key, child: Child, ends: Ends) -> None:
    value, why = child.start.value, ""
    if ends.remote is None and value != "none":
        value, why = "none", "the peer's address is not known, so nobody can be called"
    elif value == "start" and "none" in (child.on_close.value, child.on_dead.value):
        why = "here it also comes again by itself, whoever has ended it"
    draft.put((*key, "start"), value, child.start, why=why, keep=ends.remote is not None)
    for told in (child.on_close, child.on_dead):
        if told.setting is None:
            continue
        if value == "none" and told.value != "none":
            why, todo = "with start: none nothing comes again by itself", "write start: trap, or start"
            draft.say(Fate.CHANGED, told.setting, (*key, "start"), value, why=why, todo=todo)
        elif value != "none" and told.value == "none":
            why = f"with start: {value} it comes again by itself"
            draft.say(Fate.CHANGED, told.setting, (*key, "start"), value, why=why)
        else:
            draft.say(Fate.MAPPED, told.setting, (*key, "start"), value)


def _times(draft: Draft, key: Key, time: Lifetime) -> None:
    rekey, hard = time.rekey.value, time.hard.value
    why = ""
    if hard and rekey >= hard:
        rekey, why = hard * 9 // TENTH, "it has to come before the end of the SA"
    draft.put((*key, "rekey", "time"), spelled(rekey), time.rekey, why=why)
    if hard:
        draft.put((*key, "lifetime", "time"), spelled(hard), time.hard)
    elif time.hard.setting is not None:
        draft.say(Fate.CHANGED, time.hard.setting, why="an SA always has an end here: 1.2 times rekey.time")
    say_jitter(draft, time, rekey)


def _limits(draft: Draft, key: Key, unit: str, limit: Lifetime) -> None:
    """Bytes or packets; 0 is no limit, as without the key."""
    rekey, hard = limit.rekey.value, limit.hard.value
    why = ""
    if hard and rekey >= hard:
        rekey, why = hard * 9 // TENTH, "it has to come before the end of the SA"
    for name, value, told, reason in (("rekey", rekey, limit.rekey, why), ("lifetime", hard, limit.hard, "")):
        if value:
            draft.put((*key, name, unit), value, told, why=reason)
        elif told.setting is not None:
            draft.say(Fate.MAPPED, told.setting, why="no limit")
    say_jitter(draft, limit, rekey)


def say_jitter(draft: Draft, limit: Lifetime, rekey: int) -> None:
    """Rekeying is up to a tenth earlier here; what says otherwise is told."""
    if limit.earliest is None or limit.earliest.setting is None:
        return
    jitter = rekey - limit.earliest.value
    same = abs(jitter * TENTH - rekey) <= rekey // TENTH
    why = "rekeying is up to a tenth earlier here"
    draft.say(Fate.MAPPED if same else Fate.CHANGED, limit.earliest.setting, why=why)


def _kernel(draft: Draft, key: Key, child: Child) -> None:
    """What the kernel is told of the SAs and policies."""
    window = min(MAX_WINDOW, -(-child.replay_window.value // 32) * 32)
    why = "" if window == child.replay_window.value else "windows are multiples of 32, 4096 at most"
    draft.put((*key, "replay_window"), window or "off", child.replay_window, why=why)
    if child.offload.value == "packet":
        todo = "use a policy of the device's driver, or crypto"
        draft.say(Fate.DROPPED, child.offload.setting, why="packet offload does not exist here", todo=todo)
    else:
        draft.put((*key, "offload"), child.offload.value, child.offload)
    draft.put((*key, "df"), child.df.value, child.df)
    draft.put((*key, "ecn"), "on" if child.ecn.value else "off", child.ecn)
    for name, value in zip(("outbound", "inbound"), child.dscp.value, strict=True):
        draft.put((*key, "dscp", name), value, child.dscp)
    for name, mark in child.marks.items():
        _mark(draft, (*key, *name.split(".")), mark)
    if child.mtu is not None:
        _mtu(draft, key, child.mtu)
    if child.interface is not None:
        draft.put((*key, "dataplane"), "interface", child.interface)
        draft.put((*key, "interface"), child.interface.value, child.interface)
    _if_id(draft, key, child)


def _mark(draft: Draft, key: Key, mark: Told[str]) -> None:
    if not mark.value:
        draft.say(Fate.MAPPED, mark.setting, why="no mark")
        return
    why = ""
    if key[2:] == ("mark", "inbound"):
        why = "packets get the mark when they are decrypted, unless set_mark.inbound has another"
    draft.put(key, mark.value, mark, why=why)


def _mtu(draft: Draft, key: Key, mtu: Told[int]) -> None:
    why = "theirs is the MTU of a route, inside the tunnel; here the path is probed and the MSS follows"
    todo = f"nothing; or write mtu: the outer MTU that the path has, if you know it (theirs was {mtu.value} inside)"
    draft.say(Fate.CHANGED, mtu.setting, (*key, "mtu"), "auto", why=why, todo=todo)


def _if_id(draft: Draft, key: Key, child: Child) -> None:
    if child.if_id is None:
        return
    number, setting = child.if_id.value, child.if_id.setting
    if not number:
        draft.say(Fate.MAPPED, setting, why="no xfrm interface")
    elif child.interface is not None:
        draft.say(
            Fate.MAPPED, setting, (*key, "interface"), child.interface.value, why="the daemon numbers its devices"
        )
    elif is_ours(number):
        draft.say(
            Fate.DECIDE, setting, why="if_ids from 0x58000000 on are the daemon's own", todo="give the device another"
        )
    else:
        draft.put((*key, "if_id"), number, child.if_id)


def shunt(child: Child, ends: Ends) -> tuple[str, list[str], list[str]] | str:
    """Action and selectors of a policy; or why there can be none."""
    sides: list[list[str]] = []
    for told, address in ((child.local_ts, ends.local), (child.remote_ts, ends.remote)):
        if address is None and any(ts.startswith(DYNAMIC) for ts in told.value):
            return "a side of it is an address that is not known"
        sides.append([ts.replace(DYNAMIC, _host(address or "")) for ts in told.value])
    if child.start.value == "none":
        return "with this start action it was not in force there either"
    return "bypass" if child.mode.value == "pass" else "discard", sides[0], sides[1]


def settings_of(child: Child) -> list[Setting]:
    """Every setting that a child was read from."""
    told: list[Told[object]] = [value for name in child.__slots__ if isinstance(value := getattr(child, name), Told)]
    told += child.marks.values()
    for limit in (child.time, child.bytes, child.packets):
        told += [limit.rekey, limit.hard, *([limit.earliest] if limit.earliest else [])]
    return [t.setting for t in told if t.setting is not None]


def is_empty(draft: Draft) -> bool:
    """Whether no child could be written."""
    found = draft.find(("children",))
    return found is None or isinstance(found, Written) or not found
