"""What transport mode does not go with: it protects what two gateways say to each other, under their own header."""

from xfrmctl.config.build import Report
from xfrmctl.config.document import Key
from xfrmctl.ike.config import ChildConfig, ConnectionConfig
from xfrmctl.model.sa import DataPlane, DfPolicy, Mode, Oversize


def check_transport(connection: ConnectionConfig, child: ChildConfig, report: Report) -> None:
    """Report settings of a transport mode child that could not take effect."""
    if child.mode is Mode.TUNNEL:
        return
    key: Key = ("connections", connection.name, "children", child.name)
    if child.dataplane is DataPlane.INTERFACE:
        cause = "an xfrm interface cannot carry transport mode: the packet keeps its route, which leads back into it"
        report((*key, "dataplane"), cause, "write dataplane: policy, or mode: tunnel")
    if child.df is not DfPolicy.COPY:
        cause = "in transport mode the packet keeps its own header, and its own DF bit"
        report((*key, "df"), cause, "leave df out, or write mode: tunnel")
    if child.oversize is not Oversize.ICMP:
        cause = "transport mode carries what the gateway itself says, and its own sockets know what fits"
        report((*key, "oversize"), cause, "leave oversize out, or write mode: tunnel")
    for side, address, selectors in (
        ("local", connection.local, child.local_ts),
        ("remote", connection.remote, child.remote_ts),
    ):
        stranger = next((s for s in selectors if address is not None and {s.start, s.end} != {address}), None)
        if stranger is not None:
            cause = f"{stranger} is not {side}.address {address}: transport mode carries nothing else"
            report((*key, f"{side}_ts"), cause, f"leave {side}_ts out, or write mode: tunnel")
