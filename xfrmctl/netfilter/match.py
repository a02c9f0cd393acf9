"""One rule against one packet."""

from xfrmctl.netfilter.options import OPTIONS
from xfrmctl.netfilter.packet import Host, Packet
from xfrmctl.netfilter.policy import policy_match
from xfrmctl.netfilter.rules import Match, Option, Rule
from xfrmctl.netfilter.truth import YES, Truth, depends, every, yes_no

_SILENT = {("set", "--return-nomatch"), ("set", "--update-counters"), ("set", "--update-subcounters")}
"""Options that change what a match does besides matching, not whether it matches."""


def rule_matches(rule: Rule, packet: Packet, host: Host) -> Truth:
    """Whether the rule takes the packet: no by the first match that says so, else what is undecided, else yes."""
    return every(_matches(match, packet, host) for match in rule.matches)


def _matches(match: Match, packet: Packet, host: Host) -> Truth:
    match match.module:
        case "comment":
            return YES
        case "policy":
            return policy_match(match, packet)
        case "rpfilter":
            return _reverse_path(match, packet)
    if not match.options:  # -m tcp alone; the protocol is named by -p
        return YES if (match.module, "--dport") in OPTIONS else depends(f"-m {match.module}, which is not judged here")
    return every(_option(match, option, packet, host) for option in match.options)


def _option(match: Match, option: Option, packet: Packet, host: Host) -> Truth:
    key = (match.module, option.name)
    if key in _SILENT:
        return YES
    answer = OPTIONS.get(key)
    if answer is None:
        return depends(f"{match}, which is not judged here")
    try:
        return answer(option, packet, host).negated(option.negated)
    except (ValueError, IndexError):
        return depends(f"what {option} means")


def _reverse_path(match: Match, packet: Packet) -> Truth:
    if packet.reverse_path is None:
        return depends("whether the way back leaves by the device that the packet came in by")
    good = packet.reverse_path != (match.get("--invert") is not None)
    how = "leaves" if packet.reverse_path else "does not leave"
    return yes_no(good, f"the way back to {packet.source} {how} by {packet.iif}")
