from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fedops.config.loading import parse_config
from fedops.core.errors import Invalid
from fedops.explain.explainers.options import Limits, Options


def test_the_section_of_a_config() -> None:
    config = parse_config(
        {
            "random_seed": 7,
            "xai": {
                "enabled": True,
                "run_location": "client",
                "target_layer_index": -1,
                "output_dir": "outputs/gradcam",
                "layer": "conv2",
                "methods": ["gradcam", "hirescam"],
            },
        },
        "test",
    )
    options = Options.of(config.xai, config.random_seed)
    assert options.enabled
    assert options.layer == "conv2"
    assert options.methods == ("gradcam", "hirescam")
    assert options.seed == 7
    assert Options.of(parse_config({}, "test").xai).enabled is False


def test_defaults_are_those_of_the_config() -> None:
    section = parse_config({}, "test").xai
    ours = Options(enabled=False)
    assert Options.of(section) == ours


@dataclass
class Section:
    enabled: bool = True
    methods: list[str] = field(default_factory=lambda: ["occlusion"])


def test_any_object_with_the_attributes_will_do() -> None:
    assert Options.of(Section()).methods == ("occlusion",)
    assert Options.of({"enabled": True, "samples": 3}).samples == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"run_location": "server"}, r"run_location = 'server' is not one of 'client'"),
        ({"when": "never"}, r"when = 'never' is not one of 'before', 'every_round'"),
        ({"explain": "both!"}, "explain"),
        ({"models": "mine"}, "models"),
        ({"upload": "all"}, r"'none', 'scores', 'images'"),
        ({"samples": 0}, "samples must be a whole number of 1 or more"),
        ({"every_n": True}, "every_n"),
        ({"max_seconds": 0}, "max_seconds must be a number above 0"),
        ({"max_seconds": float("nan")}, "max_seconds"),
        ({"target_layer_index": 1.0}, "target_layer_index must be a whole number"),
        ({"methods": []}, "methods must be a list of names"),
        ({"methods": "gradcam"}, "methods must be a list of names"),
        ({"methods": ["gradcam", "gradcam"]}, "'gradcam' more than once"),
        ({"layer": ""}, "layer must be"),
        ({"layr": "conv2"}, r"unknown key 'layr'; did you mean 'layer'\?"),
    ],
)
def test_what_is_wrong_is_said(given: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        Options.of(given)


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(Invalid, match=r"when.*samples"):
        Options.of({"when": "now", "samples": -1})


@pytest.mark.parametrize(
    ("when", "rounds"),
    [
        ("before", [0]),
        ("every_round", [1, 2, 3, 4, 5, 6, 7]),
        ("every_n", [3, 6, 7]),
        ("after", [7]),
    ],
)
def test_when_an_explanation_is_due(when: str, rounds: list[int]) -> None:
    options = Options(when=when, every_n=3)
    assert [number for number in range(8) if options.due(number, 7)] == rounds


def test_the_owner_bounds_what_a_task_asks() -> None:
    asked = Options(upload="images", samples=100, max_seconds=60)
    options, lines = asked.within(Limits(upload="scores", samples=8, max_seconds=5))
    assert (options.upload, options.samples, options.max_seconds) == ("scores", 8, 5)
    assert len(lines) == 3
    assert "xai.upload = 'images' of the task became 'scores'" in lines[0]
    assert "device.toml" in lines[0]


def test_the_owner_only_ever_takes_away() -> None:
    asked = Options(upload="none", samples=4, max_seconds=1)
    options, lines = asked.within(Limits(upload="images", samples=16, max_seconds=9))
    assert (options, lines) == (asked, [])


def test_the_owner_may_forbid_it() -> None:
    options, lines = Options().within(Limits(enabled=False))
    assert options.enabled is False
    assert len(lines) == 1


def test_nothing_leaves_unless_the_owner_says_so() -> None:
    assert Options(upload="scores").within(Limits())[0].upload == "none"


def test_output_stays_inside_the_clients_folder() -> None:
    base = Path("home")
    assert Options().folder(base) == base / "outputs" / "gradcam"
    for bad in ("/etc", "../elsewhere", "a/../../b"):
        with pytest.raises(Invalid, match="leaves the client's folder"):
            Options(output_dir=bad).folder(base)


def test_the_classes_to_explain() -> None:
    assert Options(explain="both").roles == ("predicted", "true")
    assert Options(explain="true").roles == ("true",)
