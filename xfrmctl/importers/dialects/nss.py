"""libreswan keeps certificates and keys in a database of NSS: how the user gets them out."""

import shlex

from xfrmctl.importers.neutral import Blob
from xfrmctl.importers.words.rawkeys import public_key


def certificate(nickname: str, directory: str) -> Blob:
    """A certificate that has to be exported."""
    command = f"certutil -L -d sql:{shlex.quote(directory)} -n {shlex.quote(nickname)} -a"
    return Blob(name=nickname, content=None, export=f"export it from NSS: {command} > {{path}}")


def private_key(nickname: str, directory: str) -> str:
    """How to get the private key."""
    return (
        f"export it from NSS: pk12util -o own.p12 -n {shlex.quote(nickname)} -d sql:{shlex.quote(directory)}, "
        "then openssl pkcs12 -in own.p12 -nocerts -nodes -out {path}; chmod 0600 {path}"
    )


def raw_key(text: str) -> Blob:
    """A public key of ipsec.conf. Raises ValueError."""
    return Blob(name="rsasigkey", content=public_key(text))
