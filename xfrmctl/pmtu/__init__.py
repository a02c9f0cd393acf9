"""Path-MTU arithmetic.

``overhead`` is the only place that converts outer_mtu <-> inner_mtu, ``clamp`` makes an MSS of an inner_mtu,
``spelling`` reads any suite the arithmetic knows, ``explain`` shows it all as the rows of ``xfrmctl mtu``.

Three words, used everywhere: **outer_mtu** is the largest IP packet the underlay carries; **inner_mtu** the
largest inner IP packet that fits it after ESP, padding, UDP encapsulation and tunnel header; **mss** is
inner_mtu minus IP and TCP headers.
"""
