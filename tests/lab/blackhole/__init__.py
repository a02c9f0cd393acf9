"""The black-hole matrix: what a path does to tunnels, whatever happens to ICMP, and what came of it.

``cells`` says what there is, ``rules`` what a cell has to show and what physics or a foreign peer does not allow.
``site`` has the tunnel, ``weather`` what becomes of ICMP, ``witness`` the traffic, ``walk`` tries cells in order;
``run`` does so in the lab and appends each result to a file. ``results`` reads them, ``document`` renders
docs/black-holes.md.
"""
