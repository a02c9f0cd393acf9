"""A token bucket: so many at once, so many a second. Time is passed in."""


class TokenBucket:
    """Full at first."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = self._tokens = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether there is a token left at ``now`` (seconds, never decreasing); if so it is gone."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
