"""What may happen between two points, one file a theme. A rule is a function of a :class:`Case` that yields findings.

=========== ============================================================================================
mss         the MSS of SYN and SYN-ACK: rewritten, removed, added; in one direction only
sequence    initial sequence numbers rewritten: by a proxy that ends TCP, or by a firewall that only adds
rewritten   addresses and ports, options of the SYN, the DF bit
loss        segments that never arrive, and whether their size is the reason
toobig      frag-needed and Packet Too Big: who sent them, what they imply, whether they reach their host
fragments   who cut packets, and whether all parts arrive
offload     segments that no wire carries: glued or not yet cut by the capturing host
ttl         routers between the points; packets that somebody else has written
tunnel      what one point shows in clear and the other as ESP only
=========== ============================================================================================
"""
