"""Fingerprints as a join line has them, and the proof of who knows a device's token."""

from __future__ import annotations

import pytest

from fedops.core.errors import Invalid
from fedops.core.server_authority import fingerprint_of, split_fingerprint, upgrade_proof
from fedops.server_urls import normal_url

PRINT = "sha256:" + "a1" * 32


def test_a_url_with_and_without_a_fingerprint() -> None:
    assert split_fingerprint("https://host:8600") == ("https://host:8600", None)
    assert split_fingerprint(f"https://host:8600#{PRINT}") == ("https://host:8600", PRINT)
    assert split_fingerprint(f"https://host#{PRINT.upper()}") == ("https://host", PRINT)


@pytest.mark.parametrize(
    "text", ["https://host#", "https://host#sha256:12", f"https://host#{PRINT}0", "https://host#x"]
)
def test_half_a_fingerprint_is_none_at_all(text: str) -> None:
    with pytest.raises(Invalid, match="no fingerprint"):
        split_fingerprint(text)


def test_a_fingerprint_without_tls_would_promise_too_much() -> None:
    with pytest.raises(Invalid, match="write https://"):
        split_fingerprint(f"http://host#{PRINT}")


def test_the_fingerprint_stays_with_a_url_in_its_one_form() -> None:
    assert normal_url(f"https://host:8600/#{PRINT}") == f"https://host:8600#{PRINT}"
    with pytest.raises(Invalid, match="write https://"):
        normal_url(f"host:8600#{PRINT}")


def test_a_fingerprint_is_the_digest_of_the_certificate() -> None:
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert fingerprint_of(b"") == f"sha256:{digest}"


def test_a_proof_is_of_everything_that_it_covers() -> None:
    given = ("token", "nonce", "url", "pem")
    proofs = {upgrade_proof(*given)}
    for place in range(4):
        proofs.add(upgrade_proof(*(f"{v}x" if i == place else v for i, v in enumerate(given))))
    proofs.add(upgrade_proof("token", "nonceu", "rl", "pem"))
    assert len(proofs) == 6
