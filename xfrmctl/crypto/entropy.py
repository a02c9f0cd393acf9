"""Randomness is injected: the daemon passes the operating system's, tests and simulations a seeded stream."""

from hashlib import shake_256
from typing import Protocol


class Entropy(Protocol):
    """A source of random octets."""

    def __call__(self, size: int, /) -> bytes:
        """``size`` octets that nobody can predict."""
        ...


class DeterministicEntropy:
    """The same octets for the same seed, for tests and simulations only: SHAKE-256 of call and seed."""

    __slots__ = ("_calls", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._calls = 0

    def __call__(self, size: int) -> bytes:
        """``size`` octets that anybody who knows the seed can predict."""
        self._calls += 1
        return shake_256(self._calls.to_bytes(8, "big") + self._seed).digest(size)
