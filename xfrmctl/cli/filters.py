"""The filters that ``show`` and ``top`` share: options of the command -> the query of the control API."""

from typing import Annotated

import typer

from xfrmctl.cli import complete

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[CONNECTION]...",
        help="Connections by name or pattern ('branch-*'); all if left out.",
        autocompletion=complete.connections,
    ),
]
Child = Annotated[list[str] | None, typer.Option("--child", help="Only children of this name or pattern.")]
State = Annotated[
    list[str] | None,
    typer.Option("--state", help="up, partial, connecting, waiting, trap, down; not-up; or a state of an IKE SA."),
]
Peer = Annotated[list[str] | None, typer.Option("--peer", help="Identity of the peer, or a pattern: '*.example.org'.")]
Address = Annotated[list[str] | None, typer.Option("--address", help="Outer address or prefix, ours or the peer's.")]
Carries = Annotated[list[str] | None, typer.Option("--carries", help="Address inside of the tunnel.")]
Spi = Annotated[list[str] | None, typer.Option("--spi", help="SPI of ESP, AH or IKE, in hex.")]


def filters(
    connections: list[str] | None,
    child: list[str] | None,
    state: list[str] | None,
    peer: list[str] | None,
    address: list[str] | None,
    carries: list[str] | None,
    spi: list[str] | None,
) -> list[tuple[str, str]]:
    """Pairs for the daemon, which checks and applies them."""
    asked = {
        "connection": connections,
        "child": child,
        "state": state,
        "peer": peer,
        "address": address,
        "carries": carries,
        "spi": spi,
    }
    return [(name, value) for name, values in asked.items() for value in values or ()]
