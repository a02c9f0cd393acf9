"""Prometheus metrics: gauges from the snapshot, counters from the event stream.

``collector`` snapshot -> families, ``accumulate`` counters that survive a new SA, ``counters`` events ->
counters, ``endpoint`` the HTTP server. Labels are names of the configuration and words of small fixed sets:
never an SPI, a peer's address or anything else that a peer or a rekey could multiply.
"""
