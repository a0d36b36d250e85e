"""What of JSON is let in."""

from __future__ import annotations

import pytest

from fedops.core.errors import Invalid
from fedops.server.api.http.strict_json import MAX_DEPTH, loads


@pytest.mark.parametrize(
    "data",
    [b"{}", b"null", b"[1, -2.5e3, true, null]", '{"ä": "😀", "x": "\\ud83d\\ude00"}'.encode()],
)
def test_plain_json_passes(data: bytes) -> None:
    import json

    assert loads(data) == json.loads(data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b"[Infinity]", "Infinity is not a number"),
        (b"[-Infinity]", "-Infinity is not a number"),
        (b'{"a": [0, 1e999]}', r"a\[1\]: the number is too large"),
        (b'{"a": {"b": -1e999}}', r"a\.b: the number is too large"),
        (b"9223372036854775808", "the body: the whole number is too large"),
        (b'{"a": -9223372036854775809}', "a: the whole number is too large"),
        (b"1" + b"0" * 5_000, "no valid JSON"),
        (b'{"a": "x\\u0000y"}', "a: the text holds a NUL"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'{"a": "\\ud800"}', "a: the text holds half a character"),
        (b'{"\\udfff": 1}', "half a character"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "nested more than 32 deep"),
        (b"[" * 100_000, "nested more than 32 deep"),
    ],
)
def test_what_cannot_be_kept_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        loads(data)


def test_the_largest_whole_numbers_pass() -> None:
    assert loads(b"[9223372036854775807, -9223372036854775808]") == [2**63 - 1, -(2**63)]
