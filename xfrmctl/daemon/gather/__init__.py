"""Gathers the facts that :mod:`xfrmctl.diagnose` judges. All of it reads and asks: nothing is changed.

========== ====================================================================
configured what the operator wrote
host       sysctls, devices, routes, counters; ``firewall`` the rule sets
probes     what a peer answers to a stranger
echoes     ICMP echoes of exact sizes to a peer, and through a tunnel
========== ====================================================================
"""
