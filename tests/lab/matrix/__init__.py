"""The interop matrix: which tunnels and events are tried with which peer, and what came of them.

``cells`` says what there is and what a peer cannot do, ``pairwise`` picks the cells of every run, ``suite`` tests
them, ``results`` collects what happened and renders docs/interop.md.
"""
