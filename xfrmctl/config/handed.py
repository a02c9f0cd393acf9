"""``!credential NAME``: what systemd hands to a service (systemd.exec(5), LoadCredential=), decrypted if need be.

The files are in $CREDENTIALS_DIRECTORY, readable by the service alone; they are those of the service's last start.
Outside the service, as in ``xfrmctl check``, the directory of the running service is looked at, which only root can
read.
"""

import os
import re
from pathlib import Path

from xfrmctl.config.problem import Wrong

SERVICE = Path("/run/credentials/xfrmctl.service")
_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,255}")


def directory() -> Path:
    """Where the credentials of our service are."""
    return Path(os.environ.get("CREDENTIALS_DIRECTORY") or SERVICE)


def credential(name: str) -> Path:
    """The file of a credential, whether it is there or not. Raises Wrong for what can be no name of one."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise Wrong(f"{name!r} can be no credential's name", "write a name such as branch-7.psk, without a directory")
    return directory() / name


def is_handed(path: Path) -> bool:
    """Whether a file is one of them: those are systemd's to protect, by mode or by an access control list."""
    return path.parent == directory()


def cure(path: Path) -> str:
    """What to do where a credential is not there."""
    return f"systemctl edit xfrmctl: [Service] LoadCredential={path.name}:/PATH/OF/FILE; systemctl restart xfrmctl"
