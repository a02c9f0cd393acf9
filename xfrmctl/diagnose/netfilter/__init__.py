"""Rules of netfilter and packets that stand for many: those of a tunnel, from one network to another. Pure.

:mod:`xfrmctl.netfilter` follows one packet; here the question is what becomes of all of them, of both directions, by
iptables and by nf_tables together.

``values`` packets, conditions, rules, chains; ``iptables`` and ``nft`` read; ``walk`` follows packets through a hook.

What a rule says that is not understood here is UNKNOWN, never a match: a finding rests on what is sure.
"""
