"""xfrmctl: an IPsec gateway controller for Linux XFRM.

One daemon per gateway (``xfrmctl daemon``) and one command (``xfrmctl``). The daemon speaks IKEv2 to
peers and keeps the kernel's SAD, SPD, xfrm interfaces, routes and TCPMSS clamps as they should be::

    peers ── UDP 500/4500 ──┐                                         ┌── SendDatagram ─────▶ udp sockets
    kernel ─ XFRM events ───┤   ┌─────────┐   ┌────────────────────┐  ├── InstallSas(token) ─▶ kernel ──┐
    control API ────────────┼──▶│ runtime │──▶│ engines: ike, pmtu │──┤                                 │
    one timer ──────────────┘   │ 1 queue │   │ sans-IO, now=…     │  └── events ─▶ logs, metrics, API  │
           ▲                    └─────────┘   └────────────────────┘                                    │
           └───────────────────────────────────── Done(token, refusal) is a new input ──────────────────┘

One step: take one input, call the engine synchronously with ``now``, drain its ordered outbox, dispatch
in order, re-arm one timer at the earliest deadline. Nothing awaits inside a step.

========== ================================================================== =======================
package    is                                                                 may import
========== ================================================================== =======================
model      values everyone shares                                             nothing
wire       bytes <-> values; raises WireError only                            model
crypto     algorithms over ``cryptography``                                   model
ike        the IKEv2 engine: one file per conversation in ``ike/exchanges``   model, wire, crypto
pmtu       the path-MTU engine; arithmetic: outer_mtu -> inner_mtu -> mss     model
guard      which ICMP errors about our peers the kernel may believe: sans-IO   model
netfilter  what rules of iptables do to one packet: text -> rules -> verdict   model
trace      two captures of one path: who changed what between them                model, pmtu
journey    the order of events for one packet on a gateway, both directions       model, netfilter, pmtu
diagnose   findings: rules over gathered facts, each with evidence, cause, cures model, netfilter
kernel     effects and desired state -> Linux                                 model
config     YAML files -> values, errors with file:line:key                    model, ike.config
importers  configurations of strongSwan, libreswan, VyOS -> ours, with a report  config, model
page       the status page for a browser: snapshot and history -> HTML            model
control    HTTP + JSON on a unix socket                                       model
metrics    Prometheus collectors over the snapshot and the events             model
daemon     the only place where things meet                                   all but lab and cli
lab        gateways, routers and hosts in network namespaces with real ESP    all but cli
cli        one verb per file                                                  control client, config, model
========== ================================================================== =======================
"""

__version__ = "0.1.0"
