"""The order of events for one packet on this gateway, each with the kernel's own answer as evidence. Pure.

========= ==================================================================================================
steps     what is told: a step, and a journey made of them
world     who answers: routes, policies, SAs, devices, rules; a port, so that tests need no kernel
lookup    which policy takes a packet, and which SA carries it (``net/xfrm/xfrm_policy.c``, ``xfrm_state.c``)
device    a tunnel device on the way: GRE or IP in IP, put around a packet and taken off
sizes     what encapsulation costs, and the MTU and MSS that the packet meets
walk      a packet from where it arrives to where it leaves: the hooks in the kernel's order
report    both directions of a connection
========= ==================================================================================================

The order is Linux's (6.12; the names are those of its functions)::

    arrives ─ raw, mangle, nat PREROUTING ─ route ┬ INPUT ─ policy check ─ this host
                                                  └ policy check (fwd) ─ policy lookup (out) ─ MTU ─ FORWARD ┐
    this host ─ route, policy lookup (out) ─ raw, mangle, nat, filter OUTPUT ────────────────────────────────┤
                                              leaves, or ESP ─ mangle, nat POSTROUTING (again a policy lookup) ┘

What leaves by a tunnel device is put into GRE, and is then a packet of this host that goes through the look-up of
policies and OUTPUT anew; the answer is taken out of it behind the policy check, and arrives again by the device.

ESP that was made goes through OUTPUT and POSTROUTING as a packet of this host; ESP that arrives goes through PREROUTING
and INPUT, and what it carried arrives again.
"""
