"""What a connection and its children are just now, in the words of :mod:`xfrmctl.model.snapshot`."""

from collections.abc import Iterator, Sequence

from xfrmctl.ike.config import ChildConfig, ConnectionConfig, Start
from xfrmctl.ike.connection import Connection
from xfrmctl.ike.sa import IkeSa
from xfrmctl.ike.states import MEANING, IkeState
from xfrmctl.model.sa import DataPlane

PEERS = 128
"""IKE SAs that are looked through in one step."""


def find_standing(sas: Sequence[IkeSa], standing: set[str]) -> Iterator[None]:
    """Put the names of the children that have a CHILD SA into ``standing``. In steps."""
    for at in range(0, len(sas), PEERS):
        standing |= {child.config.name for sa in sas[at : at + PEERS] for child in sa.children if child.installed}
        yield


def child_states(config: ConnectionConfig, run_time: Connection, standing: set[str]) -> list[str]:
    """up, connecting, trap or down, of each configured child in its order; ``standing`` are those with a CHILD SA."""
    return [_child(config, child, run_time, standing) for child in config.children]


def _child(config: ConnectionConfig, child: ChildConfig, run_time: Connection, standing: set[str]) -> str:
    if child.name in standing:
        return "up"
    if child.name in run_time.wanted or child.name in run_time.acquires:
        return "connecting"
    if child.start == Start.TRAP and config.remote is not None and child.name not in run_time.held:
        return "trap"
    return "down"


def connection_state(
    children: Sequence[str], run_time: Connection, sas: Sequence[IkeSa], now: float
) -> tuple[str, str]:
    """State and meaning of a connection whose children are in these states."""
    up = children.count("up")
    if up == len(children):
        return "up", "every child has its SAs"
    if run_time.retry_at is not None:
        left = max(0.0, run_time.retry_at - now)
        return "waiting", f"attempt {run_time.attempts} failed; the next one starts in {left:.0f} s"
    negotiating = [sa for sa in sas if sa.state != IkeState.ESTABLISHED]
    if negotiating and run_time.demanded:
        return "connecting", MEANING[negotiating[-1].state]
    if up:
        return "partial", f"{up} of {len(children)} children have their SAs"
    if run_time.demanded:
        return "connecting", "a CHILD SA is being negotiated"
    if "trap" in children:
        return "trap", "waits for the first packet of its selectors"
    return "down", "nobody asks for it" if not run_time.held else "taken down by the operator"


def protection(config: ConnectionConfig, child: ChildConfig, *, up: bool) -> str:
    """What the kernel does with packets of a child: esp, ah, trap, block, blackhole, or none."""
    if up:
        return child.protocol.name.lower()
    if child.dataplane == DataPlane.INTERFACE:
        return "blackhole" if child.fail_closed else "none"
    if config.remote is not None and child.start != Start.NONE:
        return "trap"
    return "block" if child.fail_closed else "none"
