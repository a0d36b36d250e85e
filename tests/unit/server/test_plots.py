"""Charts as SVG."""

from __future__ import annotations

from typing import Any

from fedops.server.dashboard.look import plots


def _lines(*series: dict[str, Any]) -> dict[str, Any]:
    return {"x": {"name": "round", "values": [1, 2, 3, 4]}, "series": list(series)}


def test_a_missing_value_is_a_gap_and_names_stand_at_the_ends() -> None:
    drawn = plots.lines(_lines({"name": "<pi>", "values": [0.1, 0.2, None, 0.3]}), "values")
    assert drawn.count("<polyline") == 2
    assert "&lt;pi&gt;" in drawn
    assert "<pi>" not in drawn


def test_names_at_the_ends_do_not_lie_on_each_other() -> None:
    same = [{"name": name, "values": [1.0, 2.0, 3.0, 4.0]} for name in "abc"]
    drawn = plots.lines(_lines(*same), "values")
    places = {part.partition('"')[0] for part in drawn.split('class="name series-')[1:]}
    assert len(places) == 3
    heights = {part.split(' y="')[1].partition('"')[0] for part in drawn.split('class="name')[1:]}
    assert len(heights) == 3


def test_of_many_dots_only_those_in_trouble_carry_their_names() -> None:
    points = [{"x": i, "y": i, "name": f"d-{i}", "tone": "good"} for i in range(30)]
    points.append({"x": 3, "y": -4, "name": "bad", "error": 0.1, "tone": "now"})
    drawn = plots.scatter({"x": {"name": "integrity"}, "points": points}, "clients")
    assert drawn.count('<text class="name"') == 1
    assert ">bad</text>" in drawn
    assert drawn.count("<circle") == 31
    assert plots.scatter({"x": {"name": ""}, "points": []}, "") == ""


def test_marks_stand_at_a_round_or_at_a_value_and_times_may_be_the_same() -> None:
    chart = {
        "kind": "lines",
        "x": {"name": "time", "values": [1_000_000.0, 1_000_000.0], "time": True},
        "y": {"name": "accuracy"},
        "series": [{"name": "global", "values": [0.5, 0.75]}],
        "marks": [{"x": 1_000_000.0, "text": "V1"}, {"y": 0.6, "text": "V0 serving"}],
    }
    drawn = str(plots.lines(chart, "accuracy over time"))
    assert drawn.count('class="mark"') == 2
    assert "13:46:40" in drawn
