"""The example of the page does what the page says."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[4] / "docs" / "explanation" / "contribution.md"


def test_the_example_prints_what_stands_below_it() -> None:
    found = re.search(r"```python\n(.*?)```\n\nprints `([^`]*)`", PAGE.read_text(), re.DOTALL)
    assert found is not None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(found[1], {})
    assert said.getvalue().strip() == found[2]
