"""A page that no longer works fails, and what is left out says why."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from matching import difference
from page_blocks import parse_page
from page_session import Reader
from stand_ins import ROOT
from test_pages import PAGES

#: Blocks that nobody can run here, of all that could be: a second machine, root, other systems.
MOST_LEFT_OUT = 18
RUNNABLE = ("console", "python", "text")
LEFT_OUT = ("not run", "tried by")


def _read(text: str, folder: Path, reader_of: Callable[[str], Reader]) -> None:
    page = folder / "page.md"
    page.write_text(text)
    reader = reader_of(text)
    for example in parse_page(page, reader):
        example.evaluate()
    reader.finish()


WORKS = """
<!-- run before:
$ export WORD=world
-->
```console
$ echo "hello $WORD" &&
    cd apps
hello world
$ pwd
/.../apps
```
<!-- file: said.py -->
```python
print("said 17 times")
```
```console
$ python said.py
said 12 times
```
```console
# In a second terminal:
$ echo "[$WORD]"
[]
```
```text
said 3 times
```
""".replace("&&\n", "&& \\\n")

FAILS = {
    "the output differs": "```console\n$ echo one two\none three\n```\n",
    "a line is missing": "```console\n$ printf 'a\\nb\\nc\\n'\na\nc\n```\n",
    "the command fails": "```console\n$ false\n```\n",
    "it was to be refused": "```console\n$ true\nfedops: no\n```\n",
    "nothing printed this": "```console\n$ echo a\n```\n\n```text\nb\n```\n",
    "a script fails": "```python\nraise SystemExit(1)\n```\n",
    "no such extra": '```console\n$ pip install "fedops[nonsense]"\n```\n',
    "no such target": "```console\n$ make nonsense\n```\n",
    "it stays, but not for long": "```console\n$ fedops server --port nonsense\n```\n",
    "it was to stay": "```console\n$ fedops client run --home ~/nobody\n$ true\n```\n",
    "the terminal is busy": "```console\n$ fedops server\n$ true\n```\n",
    "there is nothing to interrupt": "```console\n^C\n```\n",
}


def test_a_page_that_works(tmp_path: Path, reader_of: Callable[[str], Reader]) -> None:
    _read(WORKS, tmp_path, reader_of)


@pytest.mark.parametrize("text", FAILS.values(), ids=list(FAILS))
def test_a_page_that_does_not(
    text: str, tmp_path: Path, reader_of: Callable[[str], Reader]
) -> None:
    with pytest.raises(AssertionError):
        _read(text, tmp_path, reader_of)


def test_numbers_digests_and_widths_may_differ() -> None:
    shown = "RUN   MODEL\n──────\n1     V1\n...\nsha256 a79305bc83b1...\n"
    printed = (
        "RUN  MODEL\n─────────────\n 12  V3\n\nthis\nand that\nsha256 2d6309601857c23a and so on\n"
    )
    assert difference(shown, printed) is None
    assert difference("RUN STATUS\n", printed) is not None
    assert difference("3 passed in 6.12s\n", "3 passed in 0.5s\n") is None
    assert difference("3 passed in 6.12s\n", "13 passed in 6.12s\n") is not None


def test_a_page_that_a_target_tries_is_not_run(
    tmp_path: Path, reader_of: Callable[[str], Reader]
) -> None:
    _read("<!-- tried by: make nonsense -->\n" + FAILS["the command fails"], tmp_path, reader_of)


def test_few_blocks_are_left_out_and_each_says_why() -> None:
    blocks = [e.region.lexemes for page in PAGES for e in parse_page(page, lambda _: None)]
    left_out = [b["how"] for b in blocks if b["what"] == "not run"]
    targets = {b["how"] for b in blocks if b["what"] == "tried by"}
    run = [b for b in blocks if b["language"] in RUNNABLE and b["what"] not in LEFT_OUT]
    assert len(left_out) <= MOST_LEFT_OUT
    assert len(left_out) * 4 <= len(run)
    assert all(len(reason.split()) >= 3 for reason in left_out), left_out
    assert targets <= set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_stand_behind_a_prompt_so_that_they_are_run(page: Path) -> None:
    blocks = [e.region.lexemes for e in parse_page(page, lambda _: None)]
    assert not [b for b in blocks if b["language"] in ("bash", "sh", "shell")]
    assert all(
        "$ " in b["source"] or "^C" in b["source"] for b in blocks if b["language"] == "console"
    )
