"""Ask a real charon for IKE_SA_INIT messages and keep them: charon_*.hex. Needs the lab:

.venv/bin/xfrmctl lab run -- .venv/bin/python -m tests.golden.make_charon

One charon sits in gateway B; the other end is a socket on port 500 of gateway A that answers as the story wants it.
"""

import re
import socket
import subprocess
import time
from ipaddress import ip_address
from pathlib import Path

from tests.lab.stranger import IKE, first_datagram, stranger
from xfrmctl.lab.peers.strongswan import StrongSwan
from xfrmctl.lab.peers.swanctl import Child, Connection
from xfrmctl.lab.topology import INNER_A, INNER_B, OUTER_A, OUTER_B, Topology
from xfrmctl.model.address import Endpoint
from xfrmctl.model.iana import ExchangeType, KeGroup, NotifyType, PayloadType
from xfrmctl.wire.header import Header
from xfrmctl.wire.message import encode, first_of, parse
from xfrmctl.wire.payloads import KeyExchange, Notify

HERE = Path(__file__).parent
CHARON = (OUTER_B[0], 500)
#: Everything that a default installation offers.
OFFER = ["default"]


def _connection(proposals: list[str]) -> Connection:
    child = Child(local_ts=INNER_B[:1], remote_ts=INNER_A[:1], esp_proposals=["default"])
    return Connection(local=OUTER_B[0], remote=OUTER_A[0], proposals=proposals, children=[child])


def _request(ike: str = IKE) -> bytes:
    local, remote = (Endpoint(ip_address(side[0]), 500) for side in (OUTER_A, OUTER_B))
    return first_datagram(stranger(local, remote, ike))


def _answer(request: bytes, notify: Notify) -> bytes:
    spi = parse(request).header.spi_i
    return encode(Header(spi, bytes(8), PayloadType.NONE, ExchangeType.IKE_SA_INIT, False, True, 0, 0), [notify])


class Peer:
    """Gateway A's port 500."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.sock.bind((OUTER_A[0], 500))
        self.sock.settimeout(10)

    def ask(self, request: bytes) -> bytes:
        time.sleep(0.3)  # charon ignores what comes while a thread of it is still busy with what it has just sent
        self.sock.sendto(request, CHARON)
        return self.sock.recv(4096)

    def clear(self) -> None:
        """Take what is left of an earlier story."""
        self.sock.settimeout(0.5)
        try:
            while True:
                self.sock.recv(4096)
        except TimeoutError:
            self.sock.settimeout(10)


def main() -> None:
    """Write all files."""
    found: dict[str, tuple[str, bytes]] = {}
    help_text = subprocess.run(["/usr/sbin/swanctl", "--help"], capture_output=True, text=True, check=False)
    version = re.search(r"strongSwan [\d.]+", help_text.stdout + help_text.stderr)
    options = ("cookie_threshold = 1", "retransmit_timeout = 60")
    with Topology() as topology, StrongSwan(topology.ns("gb"), [_connection(OFFER)], daemon_options=options) as charon:
        peer = Peer(topology.ns("ga").socket(socket.AF_INET, socket.SOCK_DGRAM))
        mine = _request()
        other = bytes(7) + b"\1" + mine[8:]
        found["response"] = ("IKE_SA_INIT response to X25519 and AES-GCM-128", peer.ask(mine))
        found["cookie"] = ("IKE_SA_INIT response: N(COOKIE), for there is one half-open IKE SA", peer.ask(other))

        charon.kill()
        charon.configure([_connection(["aes128gcm16-prfsha256-ecp256"])])
        charon.start()
        both = _request("aes128gcm16-prfsha256-x25519-ecp256")
        found["invalid_ke"] = ("IKE_SA_INIT response: N(INVALID_KE_PAYLOAD), ECP_256 wanted", peer.ask(both))
        found["no_proposal"] = ("IKE_SA_INIT response: N(NO_PROPOSAL_CHOSEN)", peer.ask(mine))

        charon.configure([_connection(OFFER)])
        charon.load()
        peer.clear()
        charon.swanctl("--initiate", "--child", "net", "--timeout", "-1", check=False)
        request = peer.sock.recv(4096)
        found["request"] = ("IKE_SA_INIT request: all that charon offers by default", request)
        again = peer.ask(_answer(request, Notify(NotifyType.COOKIE, bytes(range(32)))))
        found["request_with_cookie"] = ("IKE_SA_INIT request with the cookie that was demanded", again)
        ke = first_of(parse(request).payloads, KeyExchange)
        wanted = KeGroup.ECP_384 if ke is not None and ke.group != KeGroup.ECP_384 else KeGroup.X25519
        other_ke = peer.ask(_answer(request, Notify(NotifyType.INVALID_KE_PAYLOAD, int(wanted).to_bytes(2, "big"))))
        found["request_other_ke"] = ("IKE_SA_INIT request with cookie and another KE, as was demanded", other_ke)
    for name, (title, data) in found.items():
        text = data.hex()
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        header = f"# {title} (captured from {version[0] if version else 'strongSwan'})"
        (HERE / f"charon_{name}.hex").write_text("\n".join([header, *lines, ""]))
        print(name, len(data), ", ".join(p.name for p in parse(data).payloads))


if __name__ == "__main__":
    main()
