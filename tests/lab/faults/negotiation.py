"""Faults of what the two are configured for, and of the way that IKE takes."""

from functools import partial

from tests.lab.faults.fault import Fault as AnyFault

Fault = partial(AnyFault, again=True, seconds=0.0)
"""Without a tunnel there is nothing to watch."""

LAN_A, LAN_B = ["10.1.1.0/24"], ["10.1.2.0/24"]
IKE_A, IKE_B = "aes256gcm16-prfsha384-x25519", "aes128-sha256-modp2048"
DROP_500 = "-I FORWARD -p udp -m multiport --ports 500 -j DROP"
DROP_4500 = "-I FORWARD -p udp -m multiport --ports 4500 -j DROP"

NEGOTIATION = (
    Fault(
        name="another key at the peer",
        finding="psk-mismatch",
        evidence="fqdn:moon.example.org",
        b={"auth": {"psk": "quite another key for the laboratory"}},
    ),
    Fault(
        name="another key, seen by the responder",
        finding="psk-mismatch",
        evidence="does not verify",
        side=1,
        b={"auth": {"psk": "quite another key for the laboratory"}},
    ),
    Fault(
        name="no common IKE proposal, seen by the initiator",
        finding="no-common-ike-proposal",
        evidence=f"we: {IKE_A}",
        a={"ike": {"proposals": [IKE_A]}},
        b={"ike": {"proposals": [IKE_B]}},
    ),
    Fault(
        name="no common IKE proposal, seen by the responder",
        finding="no-common-ike-proposal",
        side=1,
        evidence="ke: we modp2048; peer x25519: nothing in common",
        a={"ike": {"proposals": [IKE_A]}},
        b={"ike": {"proposals": [IKE_B]}},
    ),
    Fault(
        name="no common ESP proposal",
        finding="no-common-esp-proposal",
        side=1,
        evidence="encr: we aes128; peer aes256gcm16: nothing in common",
        a={"children": {"lan": {"esp": ["aes256gcm16"]}}},
        b={"children": {"lan": {"esp": ["aes128-sha256"]}}},
    ),
    Fault(
        name="selectors without a common packet",
        finding="selectors-differ",
        side=1,
        evidence="the peer's 10.9.0.0/24: has no packet in common with any of ours",
        a={"children": {"lan": {"local_ts": LAN_A, "remote_ts": ["10.9.0.0/24"]}}},
    ),
    Fault(
        name="the peer is somebody else",
        finding="identity-mismatch",
        side=1,
        evidence="fqdn:mars.example.org",
        a={"local": {"id": "fqdn:mars.example.org"}},
    ),
)

REACH = (
    Fault(name="UDP 500 blocked", finding="udp-500-blocked", evidence="UDP 500: silent; UDP 4500: answered").by_rule(
        "r", DROP_500
    ),
    Fault(
        name="UDP 4500 blocked",
        finding="udp-4500-blocked",
        evidence="UDP 500: answered; UDP 4500: silent",
        a={"ike": {"encap": "always"}},
    ).by_rule("r", DROP_4500),
    Fault(
        name="both IKE ports blocked",
        finding="ike-blocked",
        evidence="ICMP echo to 172.16.2.1: answered",
        make=(f"r: iptables -w {DROP_500}", f"r: iptables -w {DROP_4500}"),
        undo=(f"r: iptables -w {DROP_500.replace('-I', '-D')}", f"r: iptables -w {DROP_4500.replace('-I', '-D')}"),
    ),
    Fault(
        name="the peer's daemon does not run",
        finding="ike-not-running",
        evidence="UDP 500: refused",
        stopped=True,
    ),
    Fault(name="the peer is away", finding="peer-unreachable", evidence="ICMP echo to 172.16.2.1: silent").by_rule(
        "r", "-I FORWARD -d 172.16.2.1 -j DROP"
    ),
    Fault(
        name="a firewall drops large messages of IKE",
        finding="peer-ignores-us",
        evidence="UDP 500: answered; UDP 4500: answered",
    ).by_rule("r", "-I FORWARD -p udp --dport 500 -m length --length 200:65535 -j DROP"),
)
