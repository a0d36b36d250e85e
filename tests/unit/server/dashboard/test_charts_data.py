"""What charts and comparisons are made of: thinned lines, and configs as text."""

from __future__ import annotations

import math
import tomllib

from fedops.server.dashboard.look.configs import as_toml, differences
from fedops.server.dashboard.look.sampling import largest_triangles

CONFIG = {
    "num_rounds": 3,
    "lr": 0.1,
    "note": 'he said "no"\nand left',
    "model": {"name": "cnn", "sizes": [1, 2], "deep": {"on": True}, "odd key": 1},
    "wandb": {"use": False, "key": "abcdef"},
    "store": {"password": "hunter2", "token": ""},
    "nothing": None,
}


def test_a_thinned_line_keeps_its_ends_and_its_peaks() -> None:
    xs = [float(i) for i in range(10_000)]
    ys = [math.sin(i / 800) for i in range(10_000)]
    ys[4_321] = 9.0
    kept = largest_triangles(xs, ys, 100)
    assert len(kept) == len(set(kept)) == 100
    assert kept == sorted(kept)
    assert (kept[0], kept[-1]) == (0, 9_999)
    assert 4_321 in kept


def test_a_short_line_is_not_thinned() -> None:
    assert largest_triangles([1, 2, 3], [5, 6, 7], 3) == [0, 1, 2]
    assert largest_triangles([], [], 10) == []
    kept = largest_triangles([1, 2, 3, 4], [0, 0, 5, 0], 3)
    assert kept == [0, 2, 3]


def test_a_config_is_toml_again_without_its_secrets() -> None:
    text = as_toml(CONFIG)
    read = tomllib.loads(text)
    assert read["model"] == CONFIG["model"]
    assert read["note"] == CONFIG["note"]
    assert "hunter2" not in text
    assert "abcdef" not in text
    assert read["store"] == {"password": "***", "token": ""}


def test_configs_are_compared_setting_by_setting() -> None:
    other = {**CONFIG, "lr": 0.2, "model": {**CONFIG["model"], "deep": {}}}  # type: ignore[dict-item]
    assert differences([CONFIG, other, CONFIG]) == {
        "lr": ["0.1", "0.2", "0.1"],
        "model.deep": [None, "{}", None],
        "model.deep.on": ["true", None, "true"],
    }
    assert differences([CONFIG, CONFIG]) == {}
