"""libreswan's pluto in a namespace, with a configuration, a run directory and an NSS database of its own.

It comes from a package that is unpacked, not installed, for it conflicts with strongSwan. pluto starts helpers by
their installed paths, so a mount namespace puts the unpacked directory where it looks for them. Without an NSS
database it does not start at all.
"""

import contextlib
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from xfrmctl.lab.errors import LabError
from xfrmctl.lab.namespace import Namespace
from xfrmctl.lab.peers.peer import Credentials, PeerTunnel, await_, unpacked, version_of
from xfrmctl.lab.process import end

_LIBEXEC = "/usr/libexec/ipsec"
# The first program of the mount namespace; it becomes pluto. $1 is the unpacked directory.
_ISOLATE = f'mount -t tmpfs t /usr/libexec && mkdir {_LIBEXEC} && mount --bind "$1" {_LIBEXEC} && shift && exec "$@"'

#: Our keywords -> pluto's.
_ENCR = {
    "aes128gcm16": "aes_gcm128",
    "aes256gcm16": "aes_gcm256",
    "aes128": "aes128",
    "aes256": "aes256",
    "chacha20poly1305": "chacha20_poly1305",
}
_INTEG = {
    **{"sha256": "sha2_256", "sha384": "sha2_384", "sha512": "sha2_512"},
    **{"prfsha256": "sha2_256", "prfsha384": "sha2_384", "prfsha512": "sha2_512"},
}
_KE = {"x25519": "dh31", "ecp256": "dh19", "ecp384": "dh20", "ecp521": "dh21", "modp2048": "dh14", "modp3072": "dh15"}


class Libreswan:
    """One pluto with at most one connection."""

    def __init__(self, namespace: Namespace, credentials: Sequence[Credentials] = ()) -> None:
        """``credentials`` are all that its tunnels will use: a running pluto does not trust a CA that comes later."""
        self.namespace = namespace
        self._libexec = unpacked("libreswan") / "usr/libexec/ipsec"
        self.directory = Path(tempfile.mkdtemp(prefix=f"{namespace.name}-pluto-", dir="/dev/shm"))
        self._nss = f"sql:{self.directory}/nss"
        self._log = self.directory / "pluto.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._name = ""
        for name in ("nss", "run", "ipsec.d/policies"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / "secrets").touch(mode=0o600)
        (self.directory / "ipsec.conf").write_text("config setup\n\tuniqueids=no\n")
        _run(["certutil", "-N", "-d", self._nss, "--empty-password"])
        for given in credentials:
            self._import(given)

    # ---- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start pluto, without connections."""
        directory = self.directory
        self._socket.unlink(missing_ok=True)
        pluto = [f"{_LIBEXEC}/pluto", "--nofork", "--no-dnssec", "--logfile", str(self._log)]
        pluto += ["--config", f"{directory}/ipsec.conf", "--secretsfile", f"{directory}/secrets"]
        pluto += ["--nssdir", f"{directory}/nss", "--rundir", f"{directory}/run", "--dumpdir", f"{directory}/run"]
        pluto += ["--ipsecdir", f"{directory}/ipsec.d"]
        with (directory / "output").open("ab") as output:
            self._process = self.namespace.popen(
                ["unshare", "--mount", "sh", "-c", _ISOLATE, "sh", str(self._libexec), *pluto],
                stdout=output,
                stderr=output,
            )
        await_(self._socket.exists, lambda: f"pluto did not start in {self.namespace.name}:\n{self.log_tail()}")
        self.whack("--listen")

    def stop(self) -> None:
        """End pluto as an administrator would: it deletes its SAs. Then forget its files."""
        self._end(signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self) -> None:
        """SIGKILL: a crash. Its files stay, so ``start`` brings it back."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        end(process, how)

    # ---- commands --------------------------------------------------------------------------------------------

    def whack(self, *arguments: str, check: bool = True, timeout_s: float = 30) -> str:
        """Speak to this pluto and return what it answered."""
        argv = [str(self._libexec / "whack"), "--rundir", f"{self.directory}/run", "--ctlsocket", str(self._socket)]
        return _run([*argv, *arguments], check=check, timeout_s=timeout_s)

    def tell(self, tunnel: PeerTunnel) -> None:
        """Have this tunnel and no other."""
        self.forget()
        self._name = tunnel.name
        secret = f'@{tunnel.local_id} @{tunnel.remote_id} : PSK "{tunnel.psk}"\n'
        self.secrets(secret)
        self.add(tunnel.name, render(tunnel))

    def add(self, name: str, text: str) -> None:
        """Have pluto take one connection out of an ipsec.conf; where it does not, a LabError has its words."""
        (self.directory / "ipsec.conf").write_text(text)
        addconn = [str(self._libexec / "addconn"), "--ctlsocket", str(self._socket)]
        said = _run([*addconn, "--config", f"{self.directory}/ipsec.conf", name], check=False)
        if not re.search(rf'"{re.escape(name)}(/\d+x\d+)?": added ', self.log_text()):  # one for each two subnets
            raise LabError(f"pluto did not take {name}: {said}\n{self.log_tail()}")

    def secrets(self, text: str) -> str:
        """Have pluto read this ipsec.secrets; gives what it says of it."""
        (self.directory / "secrets").write_text(text)
        return self.whack("--rereadsecrets")

    def forget(self) -> None:
        """Delete the tunnel, and its SAs with it: at both ends, if the other end answers."""
        if self._name:
            self.whack("--delete", "--name", self._name, check=False)
        self._name = ""

    def _import(self, credentials: Credentials) -> None:
        """Put a certificate, its key and its CA into the NSS database, which names certificates by their subjects."""
        encryption = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(1).build(b"lab")
        bundle = self.directory / "import.p12"
        bundle.write_bytes(
            pkcs12.serialize_key_and_certificates(
                credentials.name.encode(),
                serialization.load_pem_private_key(credentials.key.encode(), None),  # type: ignore[arg-type]
                x509.load_pem_x509_certificate(credentials.certificate.encode()),
                None,
                encryption,
            )
        )
        _run(["pk12util", "-i", str(bundle), "-d", self._nss, "-W", "lab"])
        authority = self.directory / "import.pem"
        authority.write_text(credentials.ca)
        _run(["certutil", "-A", "-d", self._nss, "-n", f"{credentials.name} CA", "-t", "CT,,", "-i", str(authority)])

    def initiate(self) -> None:
        """Bring the tunnel up."""
        said = self.whack("--initiate", "--name", self._name, check=False)
        if "established Child SA" not in said:
            raise LabError(f"pluto did not bring {self._name} up: {said}\n{self.log_tail()}")

    def rekey_child(self) -> None:
        """Begin to rekey the CHILD SA."""
        self.whack("--rekey-ipsec", "--name", self._name)

    def rekey_ike(self) -> None:
        """Begin to rekey the IKE SA."""
        self.whack("--rekey-ike", "--name", self._name)

    def delete_child(self) -> None:
        """Delete the CHILD SA; the IKE SA stays."""
        found = re.findall(r"#(\d+): .*ESTABLISHED_CHILD_SA", self.whack("--showstates"))
        if not found:
            raise LabError(f"pluto has no CHILD SA: {self.whack('--showstates')}")
        for number in found:
            self.whack("--deletestate", number, check=False)

    def delete_ike(self) -> None:
        """Delete the IKE SA with its child; the connection stays known."""
        self.whack("--terminate", "--name", self._name, check=False)

    def ike_sas(self) -> int:
        """How many IKE SAs are established."""
        return len(re.findall(r"ESTABLISHED_IKE_SA", self.whack("--showstates")))

    @property
    def version(self) -> str:
        """Its release."""
        return version_of(unpacked("libreswan"))

    @property
    def pid(self) -> int:
        """pluto's process."""
        if self._process is None:
            raise LabError("pluto does not run")
        return self._process.pid

    def log_text(self) -> str:
        """All that pluto logged."""
        with contextlib.suppress(FileNotFoundError):
            return self._log.read_text(errors="replace")
        return ""

    def log_tail(self, lines: int = 25) -> str:
        """The end of the log, and of what pluto wrote to its terminal."""
        output = self.directory / "output"
        text = self.log_text() + (output.read_text(errors="replace") if output.exists() else "")
        return "\n".join(text.splitlines()[-lines:])

    @property
    def _socket(self) -> Path:
        return self.directory / "run" / "pluto.ctl"


def render(tunnel: PeerTunnel) -> str:
    """ipsec.conf for this tunnel."""
    (local_ts,), (remote_ts,) = tunnel.local_ts, tunnel.remote_ts  # pluto 4 has one of each per connection
    lines = [
        "config setup",
        "\tuniqueids=no",
        f"conn {tunnel.name}",
        "\ttype=tunnel",
        "\tikev2=insist",
        "\tauto=ignore",
        f"\tauthby={_authby(tunnel)}",
        f"\tleft={tunnel.local}",
        f"\tleftid=@{tunnel.local_id}",
        f"\tleftsubnet={local_ts}",
        "\tleftupdown=%disabled",
        f"\tright={tunnel.remote}",
        f"\trightid=@{tunnel.remote_id}",
        f"\trightsubnet={remote_ts}",
        f"\tike={ike(tunnel.ike)}",
        f"\tesp={esp(tunnel.esp)}",
        f"\tpfs={'yes' if any(word in _KE for word in tunnel.esp.split('-')) else 'no'}",
        f"\tesn={'either' if 'esn' in tunnel.esp.split('-') else 'no'}",
        f"\tencapsulation={'yes' if tunnel.encap else 'auto'}",
        "\tfragmentation=force",
        "\tretransmit-interval=1000",
        "\tretransmit-timeout=4s",
    ]
    if tunnel.credentials is not None:
        lines += [f"\tleftcert={tunnel.credentials.name}", "\tleftsendcert=always", "\trightca=%same"]
    if tunnel.dpd_s:
        lines += [f"\tdpddelay={tunnel.dpd_s}", f"\tdpdtimeout={4 * tunnel.dpd_s}", "\tdpdaction=clear"]
    return "\n".join([*lines, ""])


def _authby(tunnel: PeerTunnel) -> str:
    if tunnel.credentials is None:
        return "secret"
    if tunnel.credentials.kind == "ecdsa":
        return "ecdsa"
    return "rsa-sha2" if tunnel.pss else "rsa-sha1"


def ike(proposal: str) -> str:
    """An IKE proposal in pluto's words: ``encryption-prf;group``."""
    encr, integ, group = proposal.split("-")
    return f"{_ENCR[encr]}-{_INTEG[integ]};{_KE[group]}"


def esp(proposal: str) -> str:
    """An ESP proposal in pluto's words; its kind of sequence number is a setting of its own."""
    words = [word for word in proposal.split("-") if word not in ("esn", "noesn")]
    group = [_KE[word] for word in words if word in _KE]
    algorithms = "-".join(({**_ENCR, **_INTEG})[word] for word in words if word not in _KE)
    return ";".join([algorithms, *group])


def _run(argv: list[str], *, check: bool = True, timeout_s: float = 30) -> str:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv)} ({done.returncode}): {done.stdout}{done.stderr}")
    return done.stdout + done.stderr
