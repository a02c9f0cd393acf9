"""The TCPMSS clamp: few rules, many members (DESIGN 3.4); and the rules of the ICMP guard (DESIGN 3.5).

``clamp``     clamps <-> text: rules for iptables-restore, members for ipset restore; pure
``guard``     guarded peers <-> text: BPF matches, queue and drop; pure
``iptables``  runs iptables-restore, iptables-save and ipset, and says what went wrong
``backend``   keeps rules and sets as a plan wants them
"""
