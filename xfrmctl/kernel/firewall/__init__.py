"""The TCPMSS clamp: few rules, many members (DESIGN 3.4).

``clamp``     clamps <-> text: rules for iptables-restore, members for ipset restore; pure
``iptables``  runs iptables-restore, iptables-save and ipset, and says what went wrong
``backend``   keeps rules and sets as a plan wants them
"""
