"""A packet through one base chain of nf_tables: what :mod:`xfrmctl.netfilter.walk` is to iptables."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from xfrmctl.model.address import IPAddress
from xfrmctl.netfilter.expressions import NOTHING, Unknown, contains, matches, read
from xfrmctl.netfilter.nft import NftChain, NftRule, NftRuleSet
from xfrmctl.netfilter.packet import Host, Packet
from xfrmctl.netfilter.truth import Truth
from xfrmctl.netfilter.walk import MAX_DEPTH, TCP_OVER_IP, Verdict, Visit, Walk, changes

_FINAL = {"accept": Verdict.ACCEPT, "drop": Verdict.DROP, "reject": Verdict.REJECT, "queue": Verdict.QUEUE}
_GOES_ON = {"counter", "log", "comment", "ct helper", "flow", "set", "map", "dup", "continue"}
_MAXSEG = {"tcp option": {"name": "maxseg", "field": "size"}}

Decision = tuple[Verdict, NftRule | None] | None


def walk_nft(rules: NftRuleSet, chain: NftChain, packet: Packet, host: Host) -> Walk:
    """What a base chain does to a packet."""
    family, table, _ = chain.name
    sets = {name: elements for (f, t, name), elements in rules.sets.items() if (f, t) == (family, table)}
    way = _Way(rules, sets, packet, host)
    decided = way.through(chain, 0)
    verdict, rule = decided if decided is not None else (_FINAL[chain.policy], None)
    return Walk(f"{family} {table}", chain.hook, verdict, rule, way.packet, tuple(way.visits), tuple(way.conditions))


class _Ends(Exception):
    """A rule ends without a match."""


@dataclass(slots=True)
class _Way:
    rules: NftRuleSet
    sets: Mapping[str, list[Any]]
    packet: Packet
    host: Host
    visits: list[Visit] = field(default_factory=list)
    conditions: list[str] = field(default_factory=list)

    def through(self, chain: NftChain, depth: int) -> Decision:
        if depth > MAX_DEPTH:
            self.conditions.append(f"chains within chains deeper than {MAX_DEPTH}: not followed")
            return None
        for rule in chain.rules:
            before = self.packet
            unknown: list[str] = []
            why: list[str] = []
            verdict: str | Mapping[str, Any] = ""
            try:
                for expression in rule.expressions:
                    ((kind, body),) = expression.items()
                    answer, verdict = self._statement(kind, body, bool(unknown))
                    if answer.value is False:
                        raise _Ends
                    (unknown if answer.value is None else why).append(answer.why)
                    if verdict:
                        break
            except _Ends:
                self.packet = before
                continue
            except (ValueError, TypeError, KeyError, IndexError) as error:
                self.packet, unknown = before, [*unknown, f"what it means ({error})"]
            if unknown:
                self.packet = before
                self._perhaps(rule, unknown, verdict)
                continue
            ended, decision = self._decide(rule, verdict, before, "; ".join(w for w in why if w), chain, depth)
            if ended:
                return decision
        return None

    def _perhaps(self, rule: NftRule, unknown: list[str], verdict: str | Mapping[str, Any]) -> None:
        self.visits.append(Visit(rule, False, "; ".join(unknown), _word(verdict) or "changes it"))
        self.conditions.append(f"{rule} depends on {'; '.join(unknown)}")

    def _decide(
        self, rule: NftRule, verdict: str | Mapping[str, Any], before: Packet, why: str, chain: NftChain, depth: int
    ) -> tuple[bool, Decision]:
        """Whether the chain ends here, and how."""
        effect = changes(before, self.packet)
        word = _word(verdict)
        if word or effect or any("counter" in expression for expression in rule.expressions):
            does = word or ("goes on" if effect else "counts")
            self.visits.append(Visit(rule, True, why, f"{does}: {effect}" if effect else does))
        if isinstance(verdict, Mapping):
            target = self.rules.chains.get((*chain.name[:2], next(iter(verdict.values()))["target"]))
            decided = self.through(target, depth + 1) if target is not None else None
            return decided is not None or "goto" in verdict, decided
        if verdict == "return":
            return True, None
        return (True, (_FINAL[verdict], rule)) if verdict in _FINAL else (False, None)

    def _statement(self, kind: str, body: Any, blind: bool) -> tuple[Truth, str | Mapping[str, Any]]:
        """What a statement says of the packet, and its verdict; ``blind``: whether it is reached is not known."""
        yes = Truth(True)
        if kind == "match":
            return matches(body, self.packet, self.host, self.sets), ""
        if kind in _FINAL or kind == "return":
            return yes, kind
        if kind in ("jump", "goto"):
            return yes, {kind: body}
        if kind == "vmap":
            return self._mapped(body)
        if kind in ("mangle", "snat", "dnat", "masquerade", "redirect", "notrack") and not blind:
            return self._change(kind, body or {})
        return (yes, "") if kind in _GOES_ON or blind else (Truth(None, f"{kind}, which is not judged here"), "")

    def _mapped(self, body: Mapping[str, Any]) -> tuple[Truth, str | Mapping[str, Any]]:
        value = self._look_up(body)
        if isinstance(value, Unknown):
            return Truth(None, value.what), ""
        if value is NOTHING:
            return Truth(False, "the map has no such element"), ""
        ((kind, target),) = value.items()
        return Truth(True), {kind: target} if kind in ("jump", "goto") else kind

    def _look_up(self, body: Mapping[str, Any]) -> Any:
        """The value of a map for the packet; NOTHING where it has none."""
        key = read(body["key"], self.packet, self.host)
        if isinstance(key, Unknown) or key is NOTHING:
            return key
        data = body["data"]
        pairs = self.sets[data[1:]] if isinstance(data, str) else data["set"]
        return next((value for element, value in pairs if contains(element, key, self.packet, self.sets)), NOTHING)

    def _value(self, value: Any) -> Any:
        return (
            self._look_up(value["map"])
            if isinstance(value, Mapping) and "map" in value
            else read(value, self.packet, self.host)
        )

    def _change(self, kind: str, body: Mapping[str, Any]) -> tuple[Truth, str]:
        if kind == "notrack":
            self.packet = replace(self.packet, state="UNTRACKED")
            return Truth(True), ""
        if kind != "mangle":
            return self._translate(kind, body), "accept"
        value = self._value(body["value"])
        if value is NOTHING:
            return Truth(False, "there is nothing to set"), ""
        if isinstance(value, Unknown):
            return Truth(None, value.what), ""
        if body["key"] == _MAXSEG:
            # never raised, and not added where there is none (nft_exthdr_tcp_set_eval)
            clamp = value - TCP_OVER_IP[self.packet.version] if body["value"] == {"rt": {"key": "mtu"}} else int(value)
            if self.packet.mss is not None:
                self.packet = replace(self.packet, mss=min(self.packet.mss, clamp))
        elif body["key"] == {"meta": {"key": "mark"}}:
            self.packet = replace(self.packet, mark=int(value))
        elif body["key"] == {"ct": {"key": "mark"}}:
            self.packet = replace(self.packet, connection_mark=int(value))
        return Truth(True), ""

    def _translate(self, kind: str, body: Mapping[str, Any]) -> Truth:
        """NAT: ranges leave the choice to the kernel, so the first of them is taken, and said so."""
        at_source = kind in ("snat", "masquerade")
        old = self.packet.source if at_source else self.packet.destination
        address: Any = old
        if kind in ("masquerade", "redirect"):
            address = self.host.address_of(self.packet.oif if at_source else self.packet.iif, self.packet.version)
        elif "addr" in body:
            address = self._value(_first(body["addr"]))
        if address is NOTHING:
            return Truth(False, "the map has no such element")
        port = self._value(_first(body["port"])) if "port" in body else None
        if address is None or isinstance(address, Unknown) or isinstance(port, Unknown):
            return Truth(None, "the address or port that the kernel picks")
        found: IPAddress = ip_address(str(address))
        translated = self.packet.translated | {"SNAT" if at_source else "DNAT"}
        ends = ("source", "source_port") if at_source else ("destination", "destination_port")
        new: dict[str, Any] = {ends[0]: found, "translated": translated} | ({ends[1]: port} if port else {})
        self.packet = replace(self.packet, **new)
        if any(isinstance(body.get(part), Mapping) and "range" in body[part] for part in ("addr", "port")):
            self.conditions.append(f"{kind}: the kernel picks from a range, the first of it is taken here")
        return Truth(True)


def _first(value: Any) -> Any:
    return value["range"][0] if isinstance(value, Mapping) and "range" in value else value


def _word(verdict: str | Mapping[str, Any]) -> str:
    if isinstance(verdict, str):
        return verdict
    ((kind, body),) = verdict.items()
    return f"{kind} {body['target']}"
