"""strongSwan's charon in a namespace, with a configuration and a run directory of its own.

Two things go wrong otherwise. With a private strongswan.conf and no load list the distribution's charon loads
every plugin that is installed, among them a user-space ESP that forces UDP encapsulation and others that change
the machine's policies; so the list is explicit. And its pid file lies in /run, whatever else is configured; so it
gets a mount namespace with a tmpfs there, and what we want to reach from outside lies elsewhere.
"""

import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.patience import patience
from xfrmctl.lab.peers.peer import PeerTunnel
from xfrmctl.lab.peers.swanctl import ChildSa, Connection, IkeSa, connection, ike_sas, render
from xfrmctl.lab.process import end

_PLUGINS = (
    "random nonce x509 revocation constraints pubkey pkcs1 pkcs8 pem openssl curve25519 hmac kdf drbg gcm chapoly "
    "ml attr kernel-netlink socket-default vici updown counters"
)
#: swanctl sends files to charon and reads no more of them than what they are; all plugins take three times as long.
_SWANCTL_PLUGINS = "pem pkcs1 pkcs8 x509 pubkey"
_DAEMONS = ("/usr/sbin/charon-systemd", "/usr/lib/ipsec/charon")
_SWANCTL = "/usr/sbin/swanctl"
_CREDENTIALS = "conf.d x509 x509ca x509ocsp x509aa x509ac x509crl pubkey private rsa ecdsa bliss pkcs8 pkcs12"
_START_S = 20.0


class StrongSwan:
    """One charon; a context manager, or ``start`` and ``stop``."""

    def __init__(
        self,
        namespace: Namespace,
        connections: Sequence[Connection] | str,
        *,
        log_level: int = 1,
        daemon_options: Sequence[str] = (),
    ) -> None:
        """``connections`` may also be the text of a swanctl.conf; ``daemon_options`` go into charon's section."""
        self.namespace = namespace
        self.directory = Path(tempfile.mkdtemp(prefix=f"{namespace.name}-charon-", dir="/dev/shm"))
        self.log = self.directory / "charon.log"
        self._log_level, self._options, self._name = log_level, daemon_options, ""
        self._process: subprocess.Popen[bytes] | None = None
        self._swanctl_dir = self.directory / "swanctl"
        for name in _CREDENTIALS.split():
            (self._swanctl_dir / name).mkdir(parents=True)
        self.configure(connections)

    def __enter__(self) -> "StrongSwan":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    # ---- life ------------------------------------------------------------------------------------------------

    def configure(self, connections: Sequence[Connection] | str) -> None:
        """Write the connections; a running daemon takes them with ``load``."""
        text = connections if isinstance(connections, str) else render(connections)
        (self._swanctl_dir / "swanctl.conf").write_text(text)

    def credential(self, folder: str, name: str, content: bytes) -> None:
        """Put a file into a folder of swanctl's (x509, x509ca, x509crl, private); ``load`` takes it."""
        (self._swanctl_dir / folder / name).write_bytes(content)

    def start(self) -> None:
        """Start charon and load the connections."""
        daemon = next((path for path in _DAEMONS if Path(path).exists()), None)
        if daemon is None:
            raise LabError("strongSwan's charon is not installed; install with: tools/setup.sh test")
        (self.directory / "strongswan.conf").write_text(self._settings())
        self._socket.unlink(missing_ok=True)
        with (self.directory / "output").open("ab") as output:
            self._process = self.namespace.popen(
                ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs run /run && exec {daemon}"],
                env=self._environment() | patience(),
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + _START_S
        while not self._socket.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"charon did not start in {self.namespace.name}; its log ends:\n{self.log_tail()}")
            time.sleep(0.05)
        self.load()

    def stop(self) -> None:
        """End charon as an administrator would: it deletes its SAs and tells the peer. Then forget its files."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL: a crash. Its files stay, so ``start`` brings it back."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        end(process, how)

    # ---- commands --------------------------------------------------------------------------------------------

    def swanctl(self, *arguments: str, check: bool = True, timeout_s: float = 60) -> str:
        """Run swanctl against this charon and return what it printed."""
        done = subprocess.run(
            [_SWANCTL, *arguments, "--uri", self._uri],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise LabError(f"swanctl {' '.join(arguments)} ({done.returncode}): {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def load(self) -> None:
        """Load connections and secrets."""
        self.swanctl("--load-all", "--noprompt")

    def initiate(self, child: str = "net", *, check: bool = True, timeout_s: float = 30) -> str:
        """Bring a child up; with ``check`` a failure is a LabError that shows charon's words."""
        return self.swanctl("--initiate", "--child", child, "--timeout", str(int(timeout_s)), check=check)

    def terminate(self, ike: str = "net") -> str:
        """Take an IKE SA and all its children down."""
        return self.swanctl("--terminate", "--ike", ike, check=False)

    # ---- as every peer can be told and asked (peer.Peer) -----------------------------------------------------

    def tell(self, tunnel: PeerTunnel) -> None:
        """Have this tunnel and no other; what was up before is deleted."""
        self.forget()
        if tunnel.credentials is not None:
            given = tunnel.credentials
            for folder, text in (("x509", given.certificate), ("private", given.key), ("x509ca", given.ca)):
                self.credential(folder, f"{given.name}.pem", text.encode())
        self._name = tunnel.name
        self.configure([connection(tunnel)])
        self.load()

    def forget(self) -> None:
        """Delete all SAs, and have no connection."""
        for sa in self.sas():
            self.swanctl("--terminate", "--ike", sa.name, "--timeout", "5", check=False)
        self.configure([])
        self.load()

    def rekey_child(self) -> None:
        """Begin to rekey the CHILD SA."""
        self.swanctl("--rekey", "--child", "net")

    def rekey_ike(self) -> None:
        """Begin to rekey the IKE SA."""
        self.swanctl("--rekey", "--ike", self._name)

    def delete_child(self) -> None:
        """Delete the CHILD SA; the IKE SA stays."""
        self.swanctl("--terminate", "--child", "net")

    def delete_ike(self) -> None:
        """Delete the IKE SA with its child."""
        self.terminate(self._name)

    def ike_sas(self) -> int:
        """How many IKE SAs are established."""
        return sum(sa.state == "ESTABLISHED" for sa in self.sas())

    def sas(self) -> list[IkeSa]:
        """All IKE SAs with their children."""
        return ike_sas(self.swanctl("--list-sas", "--raw"))

    def children(self) -> list[ChildSa]:
        """All CHILD SAs that are in the kernel."""
        return [child for sa in self.sas() for child in sa.children if child.state == "INSTALLED"]

    def wait_installed(self, count: int = 1, timeout_s: float = 20) -> list[ChildSa]:
        """The CHILD SAs, once there are ``count`` of them."""
        deadline = time.monotonic() + timeout_s
        while len(children := self.children()) < count:
            if time.monotonic() > deadline:
                raise LabError(f"{len(children)} of {count} CHILD SAs after {timeout_s} s:\n{self.log_tail()}")
            time.sleep(0.1)
        return children

    @functools.cached_property
    def version(self) -> str:
        """Its release."""
        said = self.swanctl("--version", check=False)
        found = re.search(r"strongSwan \D*([\d.]+)", said)
        return found[1] if found else "unknown"

    @property
    def pid(self) -> int:
        """charon's process."""
        if self._process is None:
            raise LabError("charon does not run")
        return self._process.pid

    def log_text(self) -> str:
        """All that charon logged."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_tail(self, lines: int = 25) -> str:
        """The end of the log, and of what charon wrote to its terminal."""
        output = self.directory / "output"
        text = self.log_text() + (output.read_text(errors="replace") if output.exists() else "")
        return "\n".join(text.splitlines()[-lines:])

    # ---- settings --------------------------------------------------------------------------------------------

    @property
    def _socket(self) -> Path:
        return self.directory / "vici"

    @property
    def _uri(self) -> str:
        return f"unix://{self._socket}"

    def _environment(self) -> dict[str, str]:
        conf = str(self.directory / "strongswan.conf")
        return {**os.environ, "STRONGSWAN_CONF": conf, "SWANCTL_DIR": str(self._swanctl_dir)}

    def _settings(self) -> str:
        options = "\n  ".join(self._options)
        section = f"""{{
  load = {_PLUGINS}
  filelog {{ lab {{
    path = {self.log}
    append = yes
    flush_line = yes
    time_format = %s
    time_add_ms = yes
    default = {self._log_level}
  }} }}
  syslog {{ daemon {{ default = -1 }}
    auth {{ default = -1 }} }}
  plugins {{ vici {{ socket = {self._uri} }} }}
  {options}
}}
"""
        # charon-systemd reads a section of its own name.
        return f"charon {section}\ncharon-systemd {section}\nswanctl {{ load = {_SWANCTL_PLUGINS} }}\n"
