"""What these peers do otherwise than one expects, found in the lab's runs; printed beside the matrix."""

from tests.lab.matrix.cells import PeerName

FACTS: dict[PeerName, tuple[str, ...]] = {
    "strongswan": (
        "As initiator with MOBIKE it goes to port 4500 after IKE_SA_INIT even without a NAT; ESP stays bare.",
        "It does not answer a request with an IKE SPI that it does not know.",
    ),
    "libreswan": (
        "It compares the AlgorithmIdentifier of RFC 7427 octet by octet and takes RSASSA-PSS only in DER, without the "
        "trailer field that RFC 7427 A.4.3 prints: we send it so.",
        "RSA by PKCS #1 v1.5 it has only as the old method 1 with SHA-1 (authby=rsa-sha1): for that cell our "
        "configuration says sha1: yes.",
        "A connection that it has initiated it initiates again at once when the other end deletes the IKE SA.",
        "It sends the Delete of a rekeyed SA a second after the rekey.",
        "One connection has one pair of traffic selectors (version 4).",
        "A CA that is put into its NSS database while it runs is not trusted before a restart.",
    ),
    "openiked": (
        "As responder it answers IKE_AUTH before its kernel has the SAs: the first packets may be lost.",
        "When it rekeys a CHILD SA it deletes the old one before its kernel has the new one, and does not wait for our "
        "answer: a packet that we send in these milliseconds is lost.",
        "It begins by itself only, two seconds after its configuration was loaded; it rekeys by lifetimes only.",
        "ESP with SHA2-256 would be cut to 96 bits by PF_KEY, so it refuses it; the cells use SHA2-512.",
        "An IKE SA that it has initiated and we have rekeyed it does not delete when told to: it ignores the request "
        "and keeps the SA for two minutes; we give up on it, and the new SA is not touched.",
        "Its IKE fragments are IPv4 packets of 584 bytes (588 on port 4500): IP fragments on a path of 576.",
        "It has one private key for all its connections.",
    ),
}

LOSES_WHEN_IT_REKEYS: dict[PeerName, int] = {"openiked": 2}
"""Packets that a peer may lose by the order in which it rekeys a CHILD SA, with a packet every 20 ms each way."""
