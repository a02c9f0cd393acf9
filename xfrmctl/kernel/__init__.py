"""Effects and desired state -> Linux. Nothing else in the program touches the kernel's IPsec or firewall.

``ports``     what may be called; ``system`` is the real kernel, ``fake`` one in memory that asserts misuse
``desired``   policies, interfaces, routes, clamps as values; ``plan`` the pure difference of two states;
              ``apply`` carries a plan out and says what could not be had
``ownership`` what is ours; only that is ever touched
``sad``, ``spd``, ``devices``, ``firewall``  the executors; ``netlink`` the messages they send
``events``    what the kernel reports by itself
``sockets``   what IKE's own UDP sockets need: decapsulation of ESP, exemption from the policies

Nothing here flushes a table of the host. Every batch is one system call, every change costs what it is large.
"""
