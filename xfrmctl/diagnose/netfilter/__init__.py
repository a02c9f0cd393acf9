"""Rules of netfilter as values, read from what the programs print, and what becomes of packets in them. Pure.

``values`` packets, conditions, rules, chains; ``iptables`` and ``nft`` read; ``walk`` follows packets through a hook.

What a rule says that is not understood here is UNKNOWN, never a match: a finding rests on what is sure.
"""
