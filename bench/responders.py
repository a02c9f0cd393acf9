"""xfrmctl and strongSwan as responders, set up alike: one entry that takes everybody who knows the key."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.initiator import INNER, PSK, RESPONDER_ID, RESPONDER_NET
from xfrmctl.lab.gateway import Gateway
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.strongswan import StrongSwan

_XFRMCTL = """\
gateway:
  limits: {{half_open: 100000, half_open_per_source: 100000, cookies_from: 100000}}
  {more}
connections:
  any:
    local:  {{address: '{address}', id: 'fqdn:{identity}'}}
    remote: {{id: any}}
    auth:   {{psk: !file secrets/any.psk}}
    ike:    {{proposals: [{ike}], dpd: off}}
    children:
      lan: {{local_ts: '{here}', remote_ts: '{there}', esp: [{esp}], start: none}}
"""

_SWANCTL = """\
connections {{
  any {{
    version = 2
    local_addrs = {address}
    remote_addrs = %any
    proposals = {ike}
    unique = no
    rekey_time = 0
    local {{
      auth = psk
      id = {identity}
    }}
    remote {{
      auth = psk
      id = %any
    }}
    children {{
      lan {{
        local_ts = {here}
        remote_ts = {there}
        esp_proposals = {esp}
        policies = {policies}
        rekey_time = 0
      }}
    }}
  }}
}}
secrets {{
  ike-1 {{
    secret = "{psk}"
  }}
}}
"""

_OPTIONS = ("dos_protection = no", "ikesa_table_size = 4096", "ikesa_table_segments = 16", "retransmit_tries = 1")
"""As generous as ours: no cookies, no limits on half-open IKE SAs; a hash table for thousands of IKE SAs (its
default costs charon twice the CPU time)."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a responder is told. ``quiet``: only warnings are logged; otherwise as each logs by default."""

    address: str
    ike: str
    esp: str
    quiet: bool


@contextmanager
def xfrmctl(namespace: Namespace, setup: Setup) -> Iterator[int]:
    """Our daemon; gives its pid."""
    with gateway(namespace, setup) as found:
        yield found.pid


@contextmanager
def gateway(namespace: Namespace, setup: Setup, kind: type[Gateway] = Gateway, more: str = "") -> Iterator[Gateway]:
    """Our daemon; ``more`` are further keys of ``gateway``, in YAML's flow style."""
    text = _XFRMCTL.format(
        address=setup.address,
        identity=RESPONDER_ID,
        ike=setup.ike,
        esp=setup.esp,
        here=RESPONDER_NET,
        there=INNER,
        more=more,
    )
    options = ("--log-level", "warning") if setup.quiet else ()
    made = kind(namespace, text, files={"secrets/any.psk": PSK + "\n"}, options=options)
    try:
        made.start()
        yield made
    finally:
        made.kill()
        made.close()


@contextmanager
def strongswan(namespace: Namespace, setup: Setup, *, policies: bool = True) -> Iterator[int]:
    """charon; gives its pid. Without ``policies`` it does in the kernel what xfrmctl does: two SAs a handshake."""
    text = _SWANCTL.format(
        address=setup.address,
        identity=RESPONDER_ID,
        ike=setup.ike,
        esp=setup.esp,
        here=RESPONDER_NET,
        there=INNER,
        policies="yes" if policies else "no",
        psk=PSK,
    )
    charon = StrongSwan(namespace, text, log_level=0 if setup.quiet else 1, daemon_options=_OPTIONS)
    try:
        charon.start()
        yield charon.pid
    finally:
        charon.kill()
        charon.stop()
