"""Values everyone shares; no behaviour beyond what a value knows of itself, no imports from elsewhere.

``iana``        numbers of the IANA IKEv2 registries, as open enums
``algorithms``  what is known of each algorithm: key sizes, ICV, IV, block, keyword
``suite``       transforms, proposals, negotiated suites, and their keyword spelling
``address``     endpoints and networks
``selector``    traffic selectors and their set arithmetic
``identity``    IKE identities
``sa``          what the kernel is told of an SA, its keys, its counters
``effects``     what an engine wants done; ``events`` what has happened; ``failure`` why something failed
``snapshot``    the state of a gateway as one plain value, for show, metrics and the control API
``errors``      the root of every error the program raises on purpose
"""
