"""Benchmarks: how much a handshake costs us as responder, beside strongSwan and by itself.

``handshakes``  the lab: one initiator drives N handshakes against each responder, with real kernel SAs (``make bench``)
``engine``      this machine: CPU microseconds of each layer of the hot path, no sockets, no kernel
``initiator``   a sans-IO initiator that costs as little as it can
``drive``       the initiator's process: a window of handshakes over one UDP socket
``responders``  xfrmctl and strongSwan, set up alike
``measure``     what a process has used (/proc)
``report``      tables for people, for the README and for machines
"""
