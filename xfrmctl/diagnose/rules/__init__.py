"""The rules, one file a theme. A rule is a function of the facts that yields findings.

=========== ===============================================================
negotiation stored failures, with ready lines for both ends
reach       peers that do not answer: what exactly is silent
forwarding  forwarding, routes, devices, reverse-path filters
firewall    rules of our own firewall in a tunnel's way
states      the same: conntrack's states, fragments, reverse paths
selectors   whose packets are they: overlaps, policies of others
sas         what the kernel has counted on SAs, and their sequence numbers
sizes       path MTU, fragments, the MSS clamp
=========== ===============================================================

Facts that were not gathered are absent, and then nothing is found.
"""
