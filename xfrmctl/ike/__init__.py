"""Engine 1: IKEv2 (RFC 7296) without sockets, clocks or randomness of its own.

``engine``     the face: ``handle_datagram``, ``handle_done``, ``handle_timer``, ``handle_acquire``, ``handle_expire``;
               commands ``initiate``, ``terminate``, ``reload``, ``shutdown``; then ``drain()`` and ``deadline()``
``inbox``      datagrams: to which IKE SA they belong, whether they are authentic, who deals with them
``core``       what one step shares: configuration, entropy, the outbox, tables of SAs, timers and tokens
``sa``         an IKE SA and a CHILD SA as data; ``states`` the table of states
``connection`` what the operator wants of one connection, retries and the last failure
``transport``  message ids, the request window, retransmission, cached answers, protection
``negotiate``  proposals and selectors: pure choice; ``natd`` NAT detection; ``failures`` failures in words
``authentication`` who proves what, by shared key or certificate; ``certificate_failures`` the latter's failures
``child``      a CHILD SA from negotiated values to kernel SAs
``halfopen``   limits on half-open IKE SAs and when cookies are demanded
``timers``     one queue of deadlines, one enum of reasons
``roaming``    our addresses and routes, and what follows when they change; ``mobility`` what MOBIKE knows of an IKE SA,
               ``moving`` its CHILD SAs go along, ``addresses`` lists of addresses in notifies
``qcd``        quick crash detection; ``path_failures`` how an IKE SA ends for where it runs or whom it was lost by
``exchanges/`` one file per conversation

Rule: a peer's misbehaviour never raises out of the engine; a programming error always does.
"""
