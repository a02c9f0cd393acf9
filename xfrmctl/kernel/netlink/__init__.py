"""Netlink: bytes <-> values. Only ``socket`` does I/O.

``socket``         batches, dumps, multicast
``constants``      numbers; ``structs`` precompiled layouts; ``tables`` the same, readable, on pyroute2's nlmsg
``sa``, ``policy`` messages of NETLINK_XFRM; ``notifications`` its multicast
``link``, ``route``, ``rule`` messages of NETLINK_ROUTE
"""
