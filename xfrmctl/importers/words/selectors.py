"""Traffic selectors of theirs in our spelling. ``dynamic`` stays: what it stands for is known later only."""

import re
from ipaddress import ip_address, ip_network

DYNAMIC = "dynamic"
_PROTOCOLS = {
    "icmp": "icmp",
    "ipencap": "ipip",
    "ipip": "ipip",
    "ipv4": "ipip",
    "tcp": "tcp",
    "udp": "udp",
    "ipv6": "ipv6",
    "gre": "gre",
    "esp": "50",
    "ah": "51",
    "icmpv6": "icmpv6",
    "ipv6-icmp": "icmpv6",
    "icmp6": "icmpv6",
    "ospf": "ospf",
    "ospfigp": "ospf",
    "l2tp": "115",
    "vrrp": "112",
    "sctp": "sctp",
    "mobility-header": "mobility",
    "mh": "mobility",
}
_SERVICES = {
    **{"ssh": 22, "smtp": 25, "domain": 53, "http": 80, "www": 80, "ntp": 123, "snmp": 161, "bgp": 179, "ldap": 389},
    **{"https": 443, "syslog": 514, "ldaps": 636, "bootps": 67, "bootpc": 68, "radius": 1812, "l2tp": 1701},
    **{"l2f": 1701, "isakmp": 500, "nfs": 2049},
}
_ICMP = ("icmp", "icmpv6", "1", "58")


def selector(text: str) -> str:
    """One selector of strongSwan: ``NETWORK``, ``FROM-TO``, ``dynamic``, with ``[PROTOCOL/PORT]``. ValueError."""
    match = re.fullmatch(r"([^\[\]]+)(?:\[([^\[\]]*)\])?", text.strip())
    if match is None:
        raise ValueError("no selector")
    where = match[1].strip()
    suffix = _suffix(match[2]) if match[2] else ""
    return (DYNAMIC if where == DYNAMIC else _addresses(where)) + suffix


def protoport(text: str) -> str:
    """``17/1701``, ``tcp/http``, ``gre`` of ipsec.conf as the suffix of a selector; "" for any. ValueError."""
    return "" if text.strip() in ("", "%any", "0", "any", "%any/%any") else _suffix(text)


def _suffix(text: str) -> str:
    name, _, port = (part.strip().lower() for part in text.partition("/"))
    if name in ("", "%any", "any", "0", "all"):
        if port in ("", "%any", "any", "0"):
            return ""
        raise ValueError("ports without a protocol")
    protocol = _PROTOCOLS.get(name, name)
    if not (protocol in _PROTOCOLS.values() or re.fullmatch(r"[0-9]{1,3}", protocol)) or protocol == "0":
        raise ValueError("an unknown protocol")
    if port in ("", "%any", "any", "0") and not (port == "0" and protocol in _ICMP):
        return f"[{protocol}]"
    if protocol in _ICMP:
        return f"[{protocol}/{_icmp(port)}]"
    low, dash, high = port.partition("-")
    return f"[{protocol}/{_port(low)}{'-' + str(_port(high)) if dash else ''}]"


def _icmp(text: str) -> str:
    """Type and code in the two octets of a port (RFC 7296 3.13.1)."""
    if not re.fullmatch(r"[0-9]{1,5}", text):
        raise ValueError("no ICMP type")
    kind, code = divmod(int(text), 256)
    return f"{kind}/{code}" if kind else f"{code}"


def _port(text: str) -> int:
    found = _SERVICES.get(text) or (int(text) if re.fullmatch(r"[0-9]{1,5}", text) else 0)
    if not 0 < found < 65536:
        raise ValueError("a service whose port is not known here; write its number")
    return found


def _addresses(text: str) -> str:
    """A network in its plain form, also ``10.1.0.0/255.255.0.0``, or a range."""
    low, dash, high = text.partition("-")
    if dash:
        return f"{ip_address(low.strip())}-{ip_address(high.strip())}"
    return str(ip_network(text.strip(), strict=False))
