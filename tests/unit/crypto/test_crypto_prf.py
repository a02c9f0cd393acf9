"""PRFs: known answers of RFC 4231, and prf+ by its definition and by NIST's IKEv2 vectors (see keys)."""

from hmac import digest
from typing import Any

import pytest

from tests.vectors import cases
from xfrmctl.crypto.prf import prf, prf_key_length, prf_plus
from xfrmctl.model.iana import Prf


@pytest.mark.rfc("4868", "2.1.2")
@cases("prf")
def test_known_answers(case: dict[str, Any]) -> None:
    algorithm = Prf[case["algorithm"]]
    assert prf(algorithm, case["key"], case["data"]) == case["output"]
    assert prf_key_length(algorithm) == len(case["output"])


@pytest.mark.rfc("7296", "2.13")
def test_prf_plus_chains_blocks() -> None:
    first = digest(b"key", b"seed\x01", "sha256")
    second = digest(b"key", first + b"seed\x02", "sha256")
    assert prf_plus(Prf.HMAC_SHA2_256, b"key", b"seed", 64) == first + second
    assert prf_plus(Prf.HMAC_SHA2_256, b"key", b"seed", 33) == first + second[:1]
    assert prf_plus(Prf.HMAC_SHA2_256, b"key", b"seed", 0) == b""


@pytest.mark.rfc("7296", "2.13")
def test_prf_plus_ends_at_255_blocks() -> None:
    assert len(prf_plus(Prf.HMAC_SHA2_256, b"k", b"s", 255 * 32)) == 255 * 32
    with pytest.raises(ValueError, match="cannot make"):
        prf_plus(Prf.HMAC_SHA2_256, b"k", b"s", 255 * 32 + 1)


@pytest.mark.rfc("7296", "1.7")
@pytest.mark.rfc("7296", "5")
def test_weak_prfs_are_not_there() -> None:
    with pytest.raises(KeyError):
        prf(Prf.HMAC_MD5, b"k", b"d")
