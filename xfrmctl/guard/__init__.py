"""The guard: which ICMP errors about our peers the kernel may learn a path MTU from. Sans-IO.

Linux believes every frag-needed that quotes UDP, GRE or an echo reply to an address, and every one that quotes ESP
with a right SPI, whatever else it says: one packet of a stranger makes a tunnel unusable (KERNEL-FACTS 7). So every
such error that names a peer of ours goes through :mod:`xfrmctl.guard.judge` before the kernel sees it, in the INPUT
hook, behind reassembly.

``quote``   bytes -> what an ICMP error says and quotes
``table``   what we really send: outbound SAs by peer and SPI, and what their paths are believed to carry
``judge``   accept or drop, and why
"""
