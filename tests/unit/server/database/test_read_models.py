"""Rows as replies."""

import pytest

from fedops.core.contracts import Reply
from fedops.server.database.read_models import read_as
from fedops.server.database.tables import EventRow

ROW = EventRow(id=7, at=2.5, who="operator", subject="run 1", name="run.pending", text="", data={})


class Shown(Reply):
    id: int
    who: str
    why: str = "not known"


def test_what_is_called_like_a_column_has_its_value() -> None:
    assert read_as(Shown, ROW, why="asked for") == Shown(id=7, who="operator", why="asked for")


def test_what_is_given_wins_over_a_column() -> None:
    assert read_as(Shown, ROW, who="somebody", why="").who == "somebody"


def test_a_field_that_nothing_gives_is_a_mistake_though_it_has_a_default() -> None:
    with pytest.raises(AssertionError, match=r"Shown: \{'why'\}"):
        read_as(Shown, ROW)
