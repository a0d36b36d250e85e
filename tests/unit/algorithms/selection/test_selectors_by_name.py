"""A selector by its name in a config: options, mistakes, and those of installed packages."""

from __future__ import annotations

import sys
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


class Broken(First):
    """Chooses well, and breaks in one way or another when it is asked for more."""

    def __init__(self, how: str) -> None:
        self._how = how

    def select(self, candidates: Sequence[Candidate], wanted: int, *_: Any) -> Any:
        names = sorted(one.device for one in candidates)
        picked, explain = list(range(wanted)), {**dict.fromkeys(range(5), "x")}.__getitem__
        numbers = np.zeros(len(names))
        found: dict[str, Any] = {
            "explain": Selection(names, picked, {0: "x", 1: "y"}.__getitem__),
            "silent": Selection(names, picked, lambda _: None),  # type: ignore[arg-type,return-value]
            "long": Selection(names, picked, lambda _: "x" * 100_000),
            "few": Selection(names, picked, explain, numbers[:1]),
            "grid": Selection(names, picked, explain, numbers.reshape(1, -1)),
            "text": Selection(names, picked, explain, None, {"p": ["a"] * len(names)}),  # type: ignore[dict-item]
            "unnamed": Selection(names, picked, explain, None, {3: numbers}),  # type: ignore[dict-item]
            "nobody": Selection(names, [], explain),
            "beyond": Selection(names, [5], explain),
            "before": Selection(names, [-1], explain),
            "again": Selection([*names, names[0]], picked, lambda _: "x"),
            "other": Selection([*names, "zz"], picked, lambda _: "x"),
            "pairs": [(name, "x") for name in names],
            "none": None,
        }
        if self._how == "exit":
            sys.exit("no licence")
        if self._how == "speech":
            raise ValueError("word\n" * 10_000)
        return found[self._how]


class Clearing(First):
    """Spoils what it is given, and has a sentence once."""

    def select(self, candidates: Any, wanted: int, *_: Any) -> Selection:
        names = sorted(one.device for one in candidates)
        sentences = [f"sentence on {name}" for name in names]
        candidates.clear()
        return Selection(names, range(wanted), lambda _: sentences.pop(0))


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
        "broken": "Broken",
        "clearing": "Clearing",
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


@pytest.mark.usefixtures("_others")
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("explain", "failed: KeyError: 2"),
        ("silent", "says nothing of 'pi-000' in place of a sentence"),
        ("long", "says 100000 characters of 'pi-000', where a sentence has at most 2000"),
        ("few", "gives 1 scores for 5 devices"),
        ("grid", "gives an array [1, 5] of scores for 5 devices"),
        ("text", "gives values of 'p' that are no numbers"),
        ("unnamed", "names a part of its scores 3, which is no text"),
        ("nobody", "chose nobody of 5 candidates where 2 were wanted"),
        ("beyond", "chose number 5 of 5 devices"),
        ("before", "chose number -1 of 5 devices"),
        ("again", "decides on a device twice"),
        ("other", "decides on 'zz', which is no candidate"),
        ("pairs", "returned a value of type list in place of a Selection"),
        ("none", "returned nothing in place of a Selection"),
        ("exit", "failed: SystemExit: no licence"),
    ],
)
def test_a_selector_that_breaks_when_it_is_asked_for_more_is_named(how: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        chosen(make_selector("broken", {"how": how}), candidates(5), 2)
    assert str(error.value) == f"the selector 'broken' {said}"


@pytest.mark.usefixtures("_others")
def test_a_long_error_of_a_package_is_cut_to_one_line() -> None:
    with pytest.raises(Invalid) as error:
        chosen(make_selector("broken", {"how": "speech"}), candidates(5), 2)
    text = str(error.value)
    assert text.startswith("the selector 'broken' failed: ValueError: word word")
    assert len(text) < 600
    assert "\n" not in text


@pytest.mark.usefixtures("_others")
def test_what_a_package_says_is_asked_for_once_and_it_cannot_spoil_the_candidates() -> None:
    pool = candidates(4)
    found = make_selector("clearing", {}).select(
        pool, 2, np.random.default_rng(1), RoundAhead(1, 4, 2)
    )
    assert len(pool) == 4
    assert found.chosen == [(name, f"sentence on {name}") for name in ("pi-000", "pi-001")]
    assert [one.reason for one in found.decisions()] == [f"sentence on pi-{i:03}" for i in range(4)]
    assert [one.reason for one in found.decisions()] == [f"sentence on pi-{i:03}" for i in range(4)]


@pytest.mark.usefixtures("_others")
def test_where_all_are_needed_no_selector_of_a_package_leaves_one_out() -> None:
    pool = candidates(3)
    for name, options in (("failing", {}), ("broken", {"how": "nobody"})):
        made = make_selector(name, options)
        assert sorted(chosen(made, pool, 3)) == sorted(one.device for one in pool)
        assert sorted(chosen(made, pool, 5)) == sorted(one.device for one in pool)
        with pytest.raises(Invalid, match=name):
            chosen(made, pool, 2)
