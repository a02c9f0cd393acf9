"""Prometheus metrics: gauges from what the daemon knows, counters from the event stream and from the kernel's SAs.

``gateway``, ``connections``, ``children`` say what there is to say of each, ``happenings`` what is counted by
``counters`` (events -> ``instruments``); ``ledger`` adds up what SAs carry over all rekeys, ``accumulate`` other
counters that begin anew; ``compat`` has the names of another exporter. ``scrape`` puts it all on a ``page`` in pieces,
``endpoint`` is the HTTP server. A ``family`` says of itself what docs/metrics.md has. Labels are names of the
configuration and words of small fixed sets: never an SPI, a peer's address or anything else that a peer or a rekey
could multiply.
"""
