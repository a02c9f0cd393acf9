"""Gathers the facts that :mod:`xfrmctl.diagnose` judges.

``configured`` what the operator wrote, ``probes`` what peers answer to strangers. All of it only reads and asks:
nothing of the kernel or of the negotiations is changed.
"""
