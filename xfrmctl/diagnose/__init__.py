"""Findings about a gateway: pure rules over facts that somebody else has gathered.

========== ==============================================================================================
facts      what was gathered: configuration, snapshots before and after, routes, sysctls, rules, probes
netfilter  rule sets as values, and what becomes of a packet in them
rules      one file a theme; a rule is a function of the facts that yields findings
diagnosis  all rules, and which finding makes another one superfluous
vendors    the same setting as strongSwan, libreswan and Cisco IOS spell it
catalogue  every finding that there is, for the documents
========== ==============================================================================================

The facts are gathered by :mod:`xfrmctl.daemon.gather`.
"""
