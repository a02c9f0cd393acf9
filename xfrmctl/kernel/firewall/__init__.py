"""The TCPMSS clamp: few rules, many members (DESIGN 3.4); and the rules of the ICMP guard (DESIGN 3.5).

``clamp``     clamps <-> text: rules for iptables-restore, members as ipset saves them; pure
``sets``      the clamp by iptables and ipset: keeps rules and sets as a plan wants them
``nft``       clamps <-> our table of nf_tables, as values; pure
``maps``      the clamp by nf_tables: keeps our table as a plan wants it
``guard``     guarded peers <-> text for iptables: BPF matches, queue and drop; pure
``nft_guard`` guarded peers <-> our other table of nf_tables, as values; pure
``guards``    the guard by iptables, and by nf_tables
``iptables``  the programs iptables-restore, iptables-save and ipset, and the kernel's ipsets
``nftables``  the socket to nf_tables, and whether somebody else has changed its ruleset
``programs``  runs a program, and says what went wrong and how to cure it
``errors``    the gateway's own path-MTU errors: limited by host, counted as they are made and as they leave; pure
``told``      those rules in iptables; and who drops such errors
``df``        the DF bit, inside and outside of tunnels, by a table of nf_tables
``backend``   clamp, guard and DF by whom the operator has chosen
"""
