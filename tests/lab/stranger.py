"""An IKE engine without a gateway around it: it begins a handshake, and a test says what becomes of it."""

from xfrmctl.crypto.entropy import DeterministicEntropy
from xfrmctl.ike.config import ChildConfig, ConnectionConfig, EngineConfig
from xfrmctl.ike.engine import IkeEngine
from xfrmctl.model.address import Endpoint
from xfrmctl.model.effects import SendDatagram
from xfrmctl.model.iana import ProtocolId
from xfrmctl.model.identity import parse_identity
from xfrmctl.model.selector import parse_selector
from xfrmctl.model.suite import parse_proposal

IKE = "aes128gcm16-prfsha256-x25519"


def stranger(local: Endpoint, remote: Endpoint, ike: str = IKE) -> IkeEngine:
    """An engine of its own that has begun a handshake."""
    everything = (parse_selector("0.0.0.0/0"),)
    child = ChildConfig(
        name="x", local_ts=everything, remote_ts=everything, esp=(parse_proposal("aes128gcm16", ProtocolId.ESP),)
    )
    connection = ConnectionConfig(
        name="x",
        local=local.address,
        remote=remote.address,
        local_id=parse_identity("x"),
        remote_id=None,
        psk=b"x",
        ike=(parse_proposal(ike, ProtocolId.IKE),),
        children=(child,),
    )
    engine = IkeEngine(EngineConfig(connections={"x": connection}), DeterministicEntropy(b"half-open"))
    engine.initiate("x", None, 0.0)
    return engine


def first_datagram(engine: IkeEngine) -> bytes:
    """What the engine wants to send."""
    return next(item.data for item in engine.drain() if isinstance(item, SendDatagram))
