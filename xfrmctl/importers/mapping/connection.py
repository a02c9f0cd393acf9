"""The IKE SA: addresses, lifetimes, liveness."""

from ipaddress import ip_address

from xfrmctl.importers.mapping.auth import write_auth
from xfrmctl.importers.mapping.child import Ends, say_jitter, write_offer
from xfrmctl.importers.mapping.draft import Draft
from xfrmctl.importers.neutral import Connection
from xfrmctl.importers.origin import Told
from xfrmctl.importers.report import Fate
from xfrmctl.importers.words.times import spelled

MAX_TRIES = 30
"""As many as ike.retransmit.tries takes."""


def write_connection(draft: Draft, connection: Connection) -> Ends:
    """Write all but the children."""
    local = _address(draft, "local", connection.local_addresses)
    remote = _address(draft, "remote", connection.remote_addresses)
    ends = Ends(local, remote)
    write_auth(draft, connection, ends)
    write_offer(draft, ("ike", "proposals"), connection.ike)
    _times(draft, connection, ends)
    draft.put(("ike", "dpd"), spelled(connection.dpd_s.value), connection.dpd_s)
    draft.put(("ike", "keepalive"), spelled(connection.keepalive_s.value), connection.keepalive_s)
    _encap(draft, connection.encap)
    _fragmentation(draft, connection.fragmentation)
    draft.put(("ike", "mobike"), connection.mobike.value, connection.mobike)
    draft.put(("ike", "childless"), connection.childless.value, connection.childless)
    _unique(draft, connection, ends)
    _tries(draft, connection.tries)
    if connection.retransmit is not None:
        _retransmit(draft, connection.retransmit)
    return ends


def _address(draft: Draft, side: str, told: Told[tuple[str, ...]]) -> str | None:
    """One address of several, or any."""
    found: list[str] = []
    strange: list[str] = []
    for word in told.value:
        try:
            found.append(str(ip_address(word)))
        except ValueError:
            if word != "any":
                strange.append(word)
    key = (side, "address")
    if found:
        others = [*found[1:], *strange, *(["any"] if "any" in told.value else [])]
        why = f"one address is all there is here: {', '.join(others)} left out" if others else ""
        todo = "write local.alternates for addresses that take over (MOBIKE)" if others and side == "local" else ""
        draft.put(key, found[0], told, why=why, todo=todo)
        return found[0]
    if not strange or all("/" in word or ("-" in word and word[0].isdigit()) for word in strange):
        why = "whoever brings the right proof, from wherever" if strange else ""
        draft.put(key, "any", told, why=why, keep=True)
        return None
    draft.write(key, "any", f"was {strange[0]}: names are not looked up here")
    what = "the peer cannot be called" if side == "remote" else "the route to the peer chooses the address"
    why = f"names are not looked up here: any is written, and {what}"
    draft.say(Fate.DECIDE, told.setting, key, "any", why=why, todo=f"write its address: {side}.address")
    return None


def _times(draft: Draft, connection: Connection, ends: Ends) -> None:
    rekey, reauth = connection.time.rekey, connection.reauth
    if reauth.value and ends.remote is None:
        why = "who waits to be called cannot begin again; it is rekeyed in its place"
        draft.say(Fate.CHANGED, reauth.setting, ("ike", "rekey"), spelled(reauth.value), why=why)
        draft.write(("ike", "rekey"), spelled(rekey.value or reauth.value), "reauthentication of theirs")
        if rekey.setting is not None and rekey.setting != reauth.setting:
            draft.say(Fate.MAPPED, rekey.setting, ("ike", "rekey"), spelled(rekey.value or reauth.value))
        return
    draft.put(("ike", "rekey"), spelled(rekey.value), rekey)
    draft.put(("ike", "reauth"), spelled(reauth.value), reauth)
    say_jitter(draft, connection.time, rekey.value or reauth.value)


def _fragmentation(draft: Draft, told: Told[str]) -> None:
    if told.value == "accept":
        why = "whoever takes fragments also sends them here"
        draft.put(("ike", "fragmentation"), "auto", told, why=why)
    else:
        draft.put(("ike", "fragmentation"), told.value, told)


def _encap(draft: Draft, told: Told[str]) -> None:
    never = told.value == "never"
    why = "where a NAT is found, ESP goes in UDP" if never else ""
    draft.put(("ike", "encap"), "auto" if never else told.value, told, why=why)


def _retransmit(draft: Draft, told: Told[tuple[int, int]]) -> None:
    """Waits that double, from the first one on, until they make up the whole."""
    first, whole = max(1, told.value[0]), 1000 * told.value[1]
    tries, wait, spent = 0, first, first
    while spent < whole and tries < MAX_TRIES:
        wait *= 2
        spent += wait
        tries += 1
    key = ("ike", "retransmit")
    draft.put((*key, "first"), f"{first}ms" if first % 1000 else f"{first // 1000}s", told)
    draft.write((*key, "factor"), 2)
    draft.write((*key, "tries"), max(1, tries))
    draft.write((*key, "max"), spelled(max(1, wait // 1000)))


def _unique(draft: Draft, connection: Connection, ends: Ends) -> None:
    """With one peer at one address there is nobody to be told from; their "no" still replaces after a restart."""
    told = connection.unique
    ours = "no" if ends.remote else "replace"
    if ends.remote and told.value == "replace":
        if told.setting is not None:
            why = "a peer with a fixed address takes its own place anyway"
            draft.say(Fate.MAPPED, told.setting, ("unique",), "no", why=why)
    elif told.setting is not None or told.value != ours:
        draft.put(("unique",), told.value, told)


def _tries(draft: Draft, told: Told[int]) -> None:
    """0 is for ever. Giving up for good after a default number of tries is nobody's wish: ours holds."""
    if told.setting is None:
        if told.value:
            why = f"{draft.product} gives up after {told.value} by default; here it goes on"
            draft.say(Fate.CHANGED, None, ("retry", "tries"), "forever", why=why)
        return
    draft.put(("retry", "tries"), told.value - 1 if told.value else "forever", told)
