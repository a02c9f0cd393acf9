"""Who changed what between two points of a path, told from a capture at each. Pure: it is given open files.

============ =====================================================================================================
files        pcap and pcapng -> frames (the formats are dpkt's); damage is named with its offset
headers      a frame -> what of it is compared
packets      those values; a point is a capture
connections  TCP connections of one point
pairs        the same connection at both points, and which point is nearer to the client
sizes        what gives this MSS: a suite and a path MTU, a tunnel, a vendor's default
findings     what has been found: values
rules        one file a theme: MSS, sequence numbers, sizes, ICMP, DF and fragments, TTL, addresses
comparison   everything together
============ =====================================================================================================

The clocks of two hosts never agree: nothing here compares times of two points, only durations at each.
"""
