"""How long a peer takes to answer: RFC 6298 2, which is TCP's way."""

from dataclasses import dataclass


@dataclass(slots=True)
class RoundTrip:
    """Smoothed round-trip time and its variation, seconds; ``smooth_s`` is None before the first answer."""

    smooth_s: float | None = None
    varies_s: float = 0.0

    def took(self, seconds: float) -> None:
        """An answer has come after so many seconds, and it is certain which copy of the request it answers."""
        if self.smooth_s is None:
            self.smooth_s, self.varies_s = seconds, seconds / 2
            return
        self.varies_s += (abs(self.smooth_s - seconds) - self.varies_s) / 4
        self.smooth_s += (seconds - self.smooth_s) / 8

    def patience(self, unknown: float) -> float:
        """How long to wait before an answer is late, seconds; ``unknown`` where there has been none yet."""
        return self.smooth_s + 4 * self.varies_s if self.smooth_s is not None else unknown
