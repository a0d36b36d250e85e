"""A selector by its name in a config: options, mistakes, and those of installed packages."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from candidates import candidates, chosen

from fedops.algorithms.selection import registry
from fedops.algorithms.selection.oort import OortSelector
from fedops.algorithms.selection.outcome import Selection
from fedops.algorithms.selection.registry import BUILT_IN, make_selector, selector_names
from fedops.algorithms.selection.selector import RoundAhead
from fedops.core.contracts import Candidate
from fedops.core.errors import Invalid


@pytest.mark.parametrize("name", list(BUILT_IN))
def test_every_selector_is_made_by_its_name(name: str) -> None:
    assert isinstance(make_selector(name, {}), BUILT_IN[name])


def test_options_reach_the_selector() -> None:
    made = make_selector("oort", {"exploration": 0.5, "most_rounds": 7})
    assert made == OortSelector(exploration=0.5, most_rounds=7)
    assert make_selector("stragglers", {"deviations": 5}) == BUILT_IN["stragglers"](deviations=5)


def test_an_unknown_selector_lists_the_known_ones() -> None:
    with pytest.raises(Invalid) as error:
        make_selector("ort", {})
    assert str(error.value) == (
        "[server.selection] selector: there is no selector 'ort'; did you mean 'oort'? Known: 'random', "
        "'round-robin', 'power-of-choice', 'oort', 'tiers', 'stragglers', 'contribution'"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tier": 3}, "tier: unknown option; did you mean 'tiers'? allowed: 'tiers'"),
        ({"tiers": 0}, "tiers = 0: must be a whole number of at least 1"),
        ({"tiers": 2.5}, "tiers = 2.5: must be a whole number of at least 1"),
        ({"tiers": True}, "tiers = true: must be a whole number of at least 1"),
        ({"tiers": "5"}, "tiers = '5': must be a whole number of at least 1"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid) as error:
        make_selector("tiers", options)
    assert str(error.value) == f"[server.selection] of selector 'tiers': {said}"


def test_all_mistakes_are_said_at_once_and_a_selector_without_options_says_so() -> None:
    with pytest.raises(
        Invalid, match=r"exploration = 2: must be a number from 0 to 1; cut: unknown"
    ):
        make_selector("oort", {"exploration": 2, "cut": 1})
    with pytest.raises(Invalid, match="k: unknown option; allowed: none"):
        make_selector("random", {"k": 3})
    with pytest.raises(Invalid, match="exploration = nan: must be a number from 0 to 1"):
        make_selector("oort", {"exploration": float("nan")})


class First:
    """What a package of others may bring: the first by name."""

    measures_time = False

    def __init__(self, skip: int = 0) -> None:
        self._skip = skip

    def select(
        self,
        candidates: Sequence[Candidate],
        wanted: int,
        rng: np.random.Generator,
        ahead: RoundAhead,
    ) -> Selection:
        names = sorted(one.device for one in candidates)
        return Selection(names, range(self._skip, self._skip + wanted), lambda _: "by name")


class Greedy(First):
    def select(self, candidates: Sequence[Candidate], wanted: int, *_: Any) -> Selection:
        return Selection([one.device for one in candidates], range(wanted + 1), lambda _: "more")


class Stranger(First):
    def select(self, candidates: Sequence[Candidate], wanted: int, *_: Any) -> Selection:
        return Selection(["nobody"], [0], lambda _: "who knows")


class Twice(First):
    def select(self, candidates: Sequence[Candidate], wanted: int, *_: Any) -> Selection:
        return Selection([one.device for one in candidates], [0, 0], lambda _: "twice")


class Failing(First):
    def select(self, *_: Any) -> Selection:
        raise ZeroDivisionError("division by zero")


def without_licence() -> Any:
    raise RuntimeError("no licence")


@pytest.fixture
def _others(monkeypatch: pytest.MonkeyPatch) -> None:
    of_package = {
        "first": "First",
        "greedy": "Greedy",
        "stranger": "Stranger",
        "twice": "Twice",
        "failing": "Failing",
        "unlicensed": "without_licence",
        "missing": "Nowhere",
        "empty": "__name__",
        "number": "dict",
        "random": "Greedy",
    }
    entries = [
        EntryPoint(name, f"{__name__}:{value}", registry.GROUP)
        for name, value in of_package.items()
    ]

    def found(group: str, name: str | None = None) -> list[EntryPoint]:
        return [one for one in entries if group == registry.GROUP and name in (None, one.name)]

    monkeypatch.setattr(registry, "entry_points", found)


@pytest.mark.usefixtures("_others")
def test_selectors_of_packages_are_found_and_have_options() -> None:
    assert "first" in selector_names()
    selector = make_selector("first", {"skip": 1})
    assert chosen(selector, candidates(4), 2) == ["pi-001", "pi-002"]
    assert not selector.measures_time


@pytest.mark.usefixtures("_others")
def test_ours_cannot_be_replaced() -> None:
    assert isinstance(make_selector("random", {}), BUILT_IN["random"])


@pytest.mark.usefixtures("_others")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "unlicensed",
            r"'unlicensed' \(.*:without_licence\) cannot be made: RuntimeError: no licence",
        ),
        ("missing", r"'missing' \(.*:Nowhere\) cannot be made: AttributeError: .*Nowhere"),
        ("empty", r"'empty' .* cannot be made: TypeError: 'str' object is not callable"),
    ],
)
def test_a_broken_package_is_named(name: str, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        make_selector(name, {})


def test_something_else_than_a_selector_is_refused() -> None:
    with pytest.raises(Invalid, match="has no method 'select'"):
        registry._plug_in(EntryPoint("number", "builtins:dict", registry.GROUP), {})


@pytest.mark.usefixtures("_others")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("greedy", "the selector 'greedy' chose 3 clients where 2 were wanted"),
        ("stranger", "the selector 'stranger' chose 'nobody', which is no candidate"),
        ("twice", "the selector 'twice' chose a device twice"),
        ("failing", "the selector 'failing' failed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_package_chooses_is_checked(name: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        chosen(make_selector(name, {}), candidates(5), 2)
    assert str(error.value) == said
