"""One conversation a file, each with both sides: what the initiator says and reads, what the responder answers.

``ike_sa_init`` agrees on keys, ``ike_auth`` proves identities and makes the first child, ``create_child_sa`` asks for
further ones and ``child_request`` answers who asks, ``informational`` deletes and asks whether the peer lives.
"""
