"""Can the running kernel do what the lab needs?

The question is put to the kernel itself, in a network namespace that vanishes with the process that asks:
an AES-GCM ESP state and an xfrm interface. Reading configuration files or module lists would miss both
containers that may not load modules and kernels that have everything built in.
"""

import functools
import os
import subprocess

_PROBE = """
ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel \
    aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128 &&
ip link add probe0 type xfrm if_id 1
"""


@functools.cache
def kernel_has_esp() -> bool:
    """Whether the running kernel takes an ESP state and an xfrm interface; root only, about 20 ms."""
    try:
        done = subprocess.run(
            ["unshare", "--net", "sh", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def is_root() -> bool:
    """Namespaces, SAs and the guest's files all need root."""
    return os.geteuid() == 0
