"""TOML beyond the bounds is refused before it is parsed; all else is parsed as ever."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedops.config import bounded_toml


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (".".join(["a"] * 100_000) + " = 1", "nested more than 32 deep"),
        ("[" + ".".join(["a"] * 40) + "]", "nested more than 32 deep"),
        ("a = 1\nb = " + "[" * 33 + "]" * 33, r"deep \(at line 2\)"),
        ("a = " + "{b=" * 33 + "1" + "}" * 33, "nested more than 32 deep"),
        ('"a" . ' * 40 + "b = 1", "nested more than 32 deep"),
        ("a = '" + "x" * bounded_toml.MAX_CHARACTERS + "'", "more than 262144"),
        ("a = " + "9" * 5000, "4300"),
        ("a = '''unended" + ".a" * 100_000, "Expected"),
        ('\\"""' * 60_000, "Invalid"),
    ],
)
def test_what_is_beyond_the_bounds(text: str, words: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError, match=words):
        bounded_toml.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = '" + "x." * 50 + "'  # " + "y." * 50,
        'a = """\n' + "[[[[.\n" * 50 + '\\""" "" """',
        "a = '''" + "{" * 50 + "'''",
        "a = [" + "1.5, " * 50 + "]",
        ".".join(["a"] * 32) + " = 1",
        "[[a.b]]\nc = {d = [1.0, {e = 2}]}\n" * 40,
    ],
)
def test_what_is_within_is_parsed_as_ever(text: str) -> None:
    assert bounded_toml.loads(text) == tomllib.loads(text)


@given(st.text(alphabet="a.=\"'[]{}#\\\n 1,", max_size=40))
def test_whatever_it_is_the_parser_decides(text: str) -> None:
    try:
        wanted = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(tomllib.TOMLDecodeError):
            bounded_toml.loads(text)
    else:
        assert bounded_toml.loads(text) == wanted
