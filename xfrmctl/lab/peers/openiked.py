"""OpenIKED's iked in a namespace, with an /etc of its own.

It comes from a package that is unpacked, not installed, for it would be started at boot. Names below /etc/iked, its
user and its empty directory for chroot are compiled in: a mount namespace gives it an /etc that is a copy of what it
reads of the machine's, and its own files. Even for a pre-shared key it does not start without a private key.

It has no command to initiate: it begins by itself, two seconds after its configuration was loaded, and then every
minute. It has none to rekey or to delete a CHILD SA either; it rekeys by lifetimes. One private key serves all its
tunnels; it reads it anew with its configuration.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.peer import Credentials, PeerTunnel, await_, unpacked, version_of
from xfrmctl.lab.process import end

_COPIED = "protocols services nsswitch.conf hosts ssl ld.so.cache localtime"
_FOLDERS = "ca certs crls private pubkeys/fqdn pubkeys/ipv4 pubkeys/ipv6 pubkeys/ufqdn"
_USER = "_iked:x:64990:64990::/var/lib/openiked/empty:/usr/sbin/nologin\n"
# The first program of the mount namespace; it becomes iked. $1 is its /etc.
_ISOLATE = (
    'mount --bind "$1" /etc && mount -t tmpfs t /var/lib && mkdir -p /var/lib/openiked/empty && shift && exec "$@"'
)

#: Our keywords -> iked's.
_WORDS = {
    "aes128gcm16": "enc aes-128-gcm",
    "aes256gcm16": "enc aes-256-gcm",
    "aes128": "enc aes-128",
    "aes256": "enc aes-256",
    "prfsha256": "prf hmac-sha2-256",
    "prfsha384": "prf hmac-sha2-384",
    "prfsha512": "prf hmac-sha2-512",
    "x25519": "group curve25519",
    **{name: f"group {name}" for name in ("ecp256", "ecp384", "ecp521", "modp2048", "modp3072")},
    "esn": "esn",
    "noesn": "noesn",
}
_INTEG = {"sha256": "hmac-sha2-256", "sha384": "hmac-sha2-384", "sha512": "hmac-sha2-512"}


class OpenIked:
    """One iked with at most one tunnel."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self._package = unpacked("openiked")
        self.directory = Path(tempfile.mkdtemp(prefix=f"{namespace.name}-iked-", dir="/dev/shm"))
        self.directory.chmod(0o755)
        self._log = self.directory / "iked.log"
        self._config = self.directory / "iked.conf"
        self._socket = self.directory / "iked.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._make_etc()
        self._configure("")
        made = ec.generate_private_key(ec.SECP256R1())
        self._use_key(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())

    # ---- files -----------------------------------------------------------------------------------------------

    def _make_etc(self) -> None:
        etc = self.directory / "etc"
        for folder in _FOLDERS.split():
            (etc / "iked" / folder).mkdir(parents=True)
        for name in _COPIED.split():
            source = Path("/etc") / name
            if source.is_dir():
                shutil.copytree(source, etc / name, symlinks=True)
            elif source.exists():
                shutil.copy(source, etc / name)
        (etc / "passwd").write_text(Path("/etc/passwd").read_text() + _USER)
        (etc / "group").write_text(Path("/etc/group").read_text() + "_iked:x:64990:\n")

    def _configure(self, text: str) -> None:
        self._config.touch(mode=0o600)
        self._config.write_text(f"set fragmentation\n{text}")

    def _use_key(self, key: str) -> None:
        """Make this the private key."""
        iked = self.directory / "etc" / "iked"
        private = iked / "private" / "local.key"
        private.touch(mode=0o600)
        private.write_text(key)
        public = load_pem_private_key(key.encode(), None).public_key()
        (iked / "local.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def _use(self, credentials: Credentials, name: str) -> None:
        """Authenticate by this certificate, which is for ``name``."""
        iked = self.directory / "etc" / "iked"
        (iked / "certs" / f"{name}.crt").write_text(credentials.certificate)
        (iked / "ca" / "ca.crt").write_text(credentials.ca)
        self._use_key(credentials.key)

    # ---- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start iked with the tunnel that it was told."""
        self._socket.unlink(missing_ok=True)
        iked = [str(self._package / "usr/sbin/iked"), "-d", "-vv", "-f", str(self._config), "-s", str(self._socket)]
        with self._log.open("ab") as log:
            self._process = self.namespace.popen(
                ["unshare", "--mount", "sh", "-c", _ISOLATE, "sh", str(self.directory / "etc"), *iked],
                stdout=log,
                stderr=log,
            )
        self._await_loaded(0)

    def _await_loaded(self, before: int) -> None:
        """Wait until iked has taken its configuration; it drops what it negotiates before.

        The parent process hands the setting of sticky addresses over last.
        """

        def loaded() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise LabError(f"iked ended in {self.namespace.name}:\n{self.log_tail()}")
            return "stickyaddress" in self.log_text()[before:]

        await_(loaded, lambda: f"iked in {self.namespace.name} does not take its configuration:\n{self.log_tail()}")

    def stop(self) -> None:
        """End iked, and forget its files."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL to all its processes at once: a crash. Its files stay, so ``start`` brings it back."""
        for pid in self.namespace.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        end(process, how)

    # ---- commands --------------------------------------------------------------------------------------------

    def ikectl(self, *arguments: str) -> str:
        """Speak to this iked and return what it answered."""
        argv = [str(self._package / "usr/sbin/ikectl"), "-s", str(self._socket), *arguments]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout + done.stderr

    def tell(self, tunnel: PeerTunnel) -> None:
        """Have this tunnel and no other."""
        if tunnel.credentials is not None:
            self._use(tunnel.credentials, tunnel.local_id)
        self._configure(render(tunnel))
        before = len(self.log_text())
        self.ikectl("reset", "sa")
        self.ikectl("load", str(self._config))
        self._await_loaded(before)

    def forget(self) -> None:
        """Delete all SAs, and have no tunnel."""
        before = len(self.log_text())
        self.ikectl("reset", "sa")
        empty = self.directory / "empty.conf"
        empty.touch(mode=0o600)
        empty.write_text("set fragmentation\n")
        self.ikectl("load", str(empty))
        self._await_loaded(before)

    def initiate(self) -> None:
        """Wait until the tunnel is up: an ``active`` one begins by itself."""
        await_(
            lambda: "[" in self.ikectl("show", "sa"), lambda: f"iked did not bring its tunnel up:\n{self.log_tail()}"
        )

    def rekey_child(self) -> None:
        """It comes by the tunnel's ``child_lifetime_s``."""

    def rekey_ike(self) -> None:
        """It comes by the tunnel's ``ike_lifetime_s``."""

    def delete_child(self) -> None:
        """There is no such command."""
        raise LabError("iked cannot be told to delete a CHILD SA")

    def delete_ike(self) -> None:
        """Delete the IKE SA with its child."""
        self.ikectl("reset", "sa")

    def ike_sas(self) -> int:
        """How many IKE SAs are established."""
        return len(re.findall(r"^iked_sas: .* ESTABLISHED ", self.ikectl("show", "sa"), re.MULTILINE))

    @property
    def version(self) -> str:
        """Its release."""
        return version_of(self._package)

    @property
    def pid(self) -> int:
        """iked's first process."""
        if self._process is None:
            raise LabError("iked does not run")
        return self._process.pid

    def log_text(self) -> str:
        """All that iked logged."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        """The end of the log."""
        return "\n".join(self.log_text().splitlines()[-lines:])


def render(tunnel: PeerTunnel) -> str:
    """iked.conf for this tunnel."""
    lines = [f'ikev2 "{tunnel.name}" {"active" if tunnel.active else "passive"} esp']
    lines += [f"from {near} to {far}" for near, far in zip(tunnel.local_ts, tunnel.remote_ts, strict=True)]
    lines += [
        f"local {tunnel.local} peer {tunnel.remote}",
        f"ikesa {algorithms(tunnel.ike, prf=True)}",
        f"childsa {algorithms(tunnel.esp)}{'' if 'esn' in tunnel.esp else ' noesn'}",
        f"srcid {tunnel.local_id} dstid {tunnel.remote_id}",
    ]
    if tunnel.ike_lifetime_s is not None:
        lines.append(f"ikelifetime {tunnel.ike_lifetime_s}")
    if tunnel.child_lifetime_s is not None:
        lines.append(f"lifetime {tunnel.child_lifetime_s} bytes 1G")
    if tunnel.credentials is None:
        lines.append(f'psk "{tunnel.psk}"')
    elif tunnel.credentials.kind == "rsa" and not tunnel.pss:
        lines.append("rsa")
    return f"set dpd_check_interval {tunnel.dpd_s}\n" + " \\\n\t".join(lines) + "\n"


def algorithms(proposal: str, *, prf: bool = False) -> str:
    """A proposal in iked's words; with ``prf`` the pseudo-random function follows from the integrity algorithm."""
    found = []
    for word in proposal.split("-"):
        if word in _INTEG:
            found += [f"auth {_INTEG[word]}", *([f"prf {_INTEG[word]}"] if prf else [])]
        elif word in _WORDS:
            found.append(_WORDS[word])
        else:
            raise LabError(f"iked has no word for {word} of {proposal}")
    return " ".join(found)
