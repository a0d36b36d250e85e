"""The blocks of a page in the order in which its reader meets them, found by Sybil.

``console``   typed into a terminal. ``# In a second terminal:`` as first line says into which one.
``text``      what the commands above have printed.
``python``    run as a script; below ``<!-- file: NAME -->`` written into that file instead, as any block is.
``toml``      below ``<!-- into: NAME -->`` merged into that file.

``<!-- not run: REASON -->`` above a block leaves it out, ``<!-- tried by: make TARGET -->`` all blocks of a
page: that target does what they say. ``<!-- run before: ... -->`` holds commands that its reader has behind
them, and ``<!-- begins with: a federation -->`` stands for those of ``FEDERATION``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from sybil import Document, Region, Sybil
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.typing import Evaluator

_MARK = re.compile(r"<!-- (?P<what>not run|file|into): (?P<how>[^\n]*?) -->\s*\Z")
#: A server, a task and two devices, much as after the five minutes of the README.
FEDERATION = """# In a server terminal:
$ fedops server
# In a first terminal:
$ fedops task create mnist --app apps/mnist-xai --set xai.enabled=false
$ fedops token create --uses 2
$ FEDOPS_JOIN_TOKEN=fo_join_... fedops join http://SERVER:8600 --name pi-1 --home ~/pi-1
$ FEDOPS_JOIN_TOKEN=fo_join_... fedops join http://SERVER:8600 --name pi-2 --home ~/pi-2
# In a third terminal:
$ fedops client run --app apps/mnist-xai --task mnist --home ~/pi-1
...ready on port 8003
# In a fourth terminal:
$ fedops client run --app apps/mnist-xai --task mnist --home ~/pi-2
...ready on port 8005
"""
_TRIED_BY = re.compile(r"^<!-- (?P<what>tried by): make (?P<how>[\w-]+) -->$", re.MULTILINE)
_BEGIN = re.compile(r"^<!-- begins with: a federation -->$", re.MULTILINE)
_BEFORE = re.compile(r"^<!-- run before:\n(?P<source>.*?)^-->$", re.MULTILINE | re.DOTALL)


class PageParser:
    """Sybil's parser of our pages: one region for each block that is not plain illustration."""

    def __init__(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._fences = FencedCodeBlockLexer(language=r"\w+")

    def __call__(self, document: Document) -> Iterable[Region]:
        whole = _TRIED_BY.search(document.text)
        for region in self._fences(document):
            mark = whole or _MARK.search(document.text, max(0, region.start - 300), region.start)
            region.lexemes = {
                **region.lexemes,
                "what": mark["what"] if mark else "",
                "how": mark["how"] if mark else "",
            }
            yield self._ready(region)
        for begin in _BEGIN.finditer(document.text):
            yield self._hidden(begin, FEDERATION)
        for before in _BEFORE.finditer(document.text):
            yield self._hidden(before, before["source"])

    def _hidden(self, found: re.Match[str], source: str) -> Region:
        lexemes = {"language": "console", "source": source, "what": "before", "how": ""}
        return self._ready(Region(found.start(), found.end(), lexemes=lexemes))

    def _ready(self, region: Region) -> Region:
        region.parsed = region.lexemes["source"]
        region.evaluator = self._evaluator
        return region


def parse_page(page: Path, evaluator: Evaluator) -> Document:
    """One page as Sybil's document."""
    return Sybil(parsers=[PageParser(evaluator)], patterns=["*.md"]).parse(page)
