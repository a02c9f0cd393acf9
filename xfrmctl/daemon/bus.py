"""Events to whoever listens: logs, metrics, reconciliation, waiting commands, followers of the API."""

from collections.abc import Callable

from xfrmctl.model.events import Event

Listener = Callable[[Event], None]


class Bus:
    """Calls every listener in the order they came; a listener must not block."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the returned function removes it again."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def publish(self, event: Event) -> None:
        """Tell everybody."""
        for listener in tuple(self._listeners):
            listener(event)
