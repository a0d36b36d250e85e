"""The selectors by name: ours, and those of installed packages (entry points ``fedops.selectors``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from fedops.algorithms.selection.contribution import ContributionSelector
from fedops.algorithms.selection.oort import OortSelector
from fedops.algorithms.selection.options import mistakes_in
from fedops.algorithms.selection.outcome import Selection
from fedops.algorithms.selection.power_of_choice import PowerOfChoiceSelector
from fedops.algorithms.selection.round_robin import RoundRobinSelector
from fedops.algorithms.selection.selector import RoundAhead, Selector
from fedops.algorithms.selection.stragglers import StragglersSelector
from fedops.algorithms.selection.tiers import TiersSelector
from fedops.algorithms.selection.uniform import UniformSelector
from fedops.core.contracts import Candidate
from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean

GROUP = "fedops.selectors"
WHERE = "[server.selection]"
BUILT_IN: dict[str, type] = {
    "random": UniformSelector,
    "round-robin": RoundRobinSelector,
    "power-of-choice": PowerOfChoiceSelector,
    "oort": OortSelector,
    "tiers": TiersSelector,
    "stragglers": StragglersSelector,
    "contribution": ContributionSelector,
}


def selector_names() -> list[str]:
    """Every name that ``server.selection.selector`` may have here."""
    added = [entry.name for entry in entry_points(group=GROUP)]
    return list(dict.fromkeys([*BUILT_IN, *added]))


def make_selector(name: str, options: Mapping[str, Any]) -> Selector:
    """The selector of this name. Installed packages may not replace ours.

    Raises:
        Invalid: no such selector or option (the valid ones are listed), a value that is out of range, or a
            package's selector that fails.
    """
    if name in BUILT_IN:
        return _built_in(name, options)
    for entry in entry_points(group=GROUP, name=name):
        return _plug_in(entry, options)
    names = selector_names()
    guess = did_you_mean(name, names) or "."
    raise Invalid(
        f"{WHERE} selector: there is no selector '{name}'{guess} Known: {comma_list(names)}"
    )


def _built_in(name: str, options: Mapping[str, Any]) -> Selector:
    cls = BUILT_IN[name]
    wrong = list(mistakes_in(cls, options))
    if wrong:
        raise Invalid(f"{WHERE} of selector '{name}': {'; '.join(wrong)}")
    made: Selector = cls(**options)
    return made


def _plug_in(entry: EntryPoint, options: Mapping[str, Any]) -> Selector:
    try:
        made = entry.load()(**options)
    except Exception as error:
        raise Invalid(
            f"{WHERE}: the selector '{entry.name}' ({entry.value}) cannot be made: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not callable(getattr(made, "select", None)):
        raise Invalid(
            f"{WHERE}: the selector '{entry.name}' ({entry.value}) has no method 'select'"
        )
    return CheckedSelector(entry.name, made)


# --- selectors of packages ---------------------------------------------------------------------------


class CheckedSelector:
    """A selector of an installed package, held to what a selector promises."""

    def __init__(self, name: str, selector: Any) -> None:
        self._name = name
        self._selector = selector
        #: Who does not say so may go by time.
        self.measures_time = bool(getattr(selector, "measures_time", True))

    def select(
        self,
        candidates: Sequence[Candidate],
        wanted: int,
        rng: np.random.Generator,
        ahead: RoundAhead,
    ) -> Selection:
        """As the other does.

        Raises:
            Invalid: it fails, or chooses too many, somebody twice, or somebody who is no candidate.
        """
        try:
            found: Selection = self._selector.select(candidates, wanted, rng, ahead)
            chosen = [device for device, _ in found.chosen]
        except Exception as error:
            raise Invalid(
                f"the selector '{self._name}' failed: {type(error).__name__}: {error}"
            ) from error
        if problem := _problem(chosen, wanted, {one.device for one in candidates}):
            raise Invalid(f"the selector '{self._name}' {problem}")
        return found


def _problem(chosen: Sequence[str], wanted: int, known: set[str]) -> str:
    strangers = [device for device in chosen if device not in known]
    if strangers:
        return f"chose '{strangers[0]}', which is no candidate"
    if len(set(chosen)) < len(chosen):
        return "chose a device twice"
    if len(chosen) > wanted:
        return f"chose {len(chosen)} clients where {wanted} were wanted"
    return ""
