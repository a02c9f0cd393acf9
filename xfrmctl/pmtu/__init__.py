"""The path-MTU engine, and the arithmetic of sizes.

``engine`` watches over all paths: inputs with a time stamp in, effects and events out. ``path`` is one path's belief
and what is done about it, ``search`` says which size to try next (RFC 8899), ``settings`` and ``inputs`` are what the
engine is told. ``overhead`` is the only place that converts outer_mtu <-> inner_mtu, ``clamp`` makes an MSS of an
inner_mtu, ``spelling`` reads any suite the arithmetic knows, ``explain`` shows it all as the rows of ``xfrmctl mtu``.

Three words, used everywhere: **outer_mtu** is the largest IP packet the underlay carries; **inner_mtu** the
largest inner IP packet that fits it after ESP, padding, UDP encapsulation and tunnel header; **mss** is
inner_mtu minus IP and TCP headers.
"""
