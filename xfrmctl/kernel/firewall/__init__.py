"""The TCPMSS clamp: few rules, many members (DESIGN 3.4); and the rules of the ICMP guard (DESIGN 3.5).

``clamp``     clamps <-> text: rules for iptables-restore, members for ipset restore; pure
``guard``     guarded peers <-> text: BPF matches, queue and drop; pure
``sets``      the clamp by iptables and ipset: keeps rules and sets as a plan wants them
``layers``    pairs of networks, sorted into maps that nf_tables can hold; pure
``nft``       clamps <-> text: our table for nft, and its JSON; pure
``maps``      the clamp by nf_tables: keeps our table as a plan wants it
``iptables``  the programs iptables-restore, iptables-save and ipset
``programs``  runs a program, and says what went wrong and how to cure it
``df``        the DF bit, inside and outside of tunnels, by a table of nf_tables
``backend``   the clamp by whom the operator has chosen, and the rules of the ICMP guard
"""
