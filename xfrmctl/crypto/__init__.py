"""Algorithms, over ``cryptography`` and the standard library's HMAC; nothing here is home-made.

``entropy``   randomness as a parameter
``prf``       prf and prf+ (RFC 7296 2.13)
``kex``       key exchange methods (``modp``: the finite-field ones)
``keys``      key material of IKE SAs and CHILD SAs (RFC 7296 2.14, 2.17, 2.18)
``protect``   sealing and opening SK payloads (RFC 7296 3.14, RFC 5282, RFC 7634)
``auth``      proof of identity with a shared key (RFC 7296 2.15)
``signature`` proof of identity with a key pair (RFC 7427, RFC 8420, RFC 4754)
``certificate`` X.509 certificates as IKE sees them (RFC 4945)
``trust``     certificate paths and CRLs (RFC 5280)
``cookie``    stateless cookies (RFC 7296 2.6)
``natd``      NAT detection hashes (RFC 7296 2.23)

Messages come and go as bytes: this package does not know ``wire``. Bad input from a peer raises
:class:`KeyExchangeError` or :class:`IntegrityError`; anything else that is raised is a fault of our own.
"""
