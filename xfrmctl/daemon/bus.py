"""Events to whoever listens: logs, metrics, reconciliation, waiting commands, followers of the API."""

from collections.abc import Callable

from xfrmctl.model.events import Event

Listener = Callable[[Event], None]


class Bus:
    """Calls every listener in the order they came; a listener must not block."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the returned function removes it again."""
        self._listeners = (*self._listeners, listener)
        return lambda: self._remove(listener)

    def _remove(self, listener: Listener) -> None:
        self._listeners = tuple(known for known in self._listeners if known is not listener)

    def publish(self, event: Event) -> None:
        """Tell everybody."""
        for listener in self._listeners:
            listener(event)
