"""The rules, one file a theme: ``negotiation`` (stored failures), ``reach`` (peers that do not answer).

A rule is a function of the facts that yields findings. It may not raise: facts that were not gathered are absent.
"""
