"""Bytes <-> values. Pure functions; every parser is bounded, terminates, and raises :class:`WireError` only.

``errors``       the one error family, each class with the Notify that answers it
``cursor``       a bounded reader
``numbers``      IANA numbers to enum members without the cost of an enum call
``header``       the IKE header (RFC 7296 3.1)
``payloads``     one file per payload, values both ways
``message``      the payload chain: parse up to SK, decode what SK protected, encode
``cardinality``  which payload may occur how often in which message, as a table
``natt``         the non-ESP marker and the keepalive of UDP port 4500 (RFC 3948)

Rules that hold everywhere here: a block is consumed exactly, never more and never less; a length is checked
before it is used; reserved bits are ignored when read and zero when written; a number without a name is
kept, not refused.
"""
