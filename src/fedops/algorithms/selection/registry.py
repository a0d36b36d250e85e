"""The selectors by name: ours, and those of installed packages (entry points ``fedops.selectors``)."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np

from fedops.algorithms.selection.contribution import ContributionSelector
from fedops.algorithms.selection.oort import OortSelector
from fedops.algorithms.selection.options import mistakes_in
from fedops.algorithms.selection.outcome import Numbers, Selection, everyone
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
        found = CheckedSelector(entry.name, made)
    except (Exception, SystemExit) as error:
        raise Invalid(
            f"{WHERE}: the selector '{entry.name}' ({entry.value}) cannot be made: {_said(error)}"
        ) from error
    if not callable(getattr(made, "select", None)):
        raise Invalid(
            f"{WHERE}: the selector '{entry.name}' ({entry.value}) has no method 'select'"
        )
    return found


# --- selectors of packages ---------------------------------------------------------------------------

#: The longest sentence on a candidate, and how much of an error is passed on. Characters.
_SENTENCE, _ERROR = 2_000, 500


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
        """As the other does, where there is something to choose. What it says is asked for now, once.

        Raises:
            Invalid: it fails, or what it gives is no selection among the candidates.
        """
        if len(candidates) <= wanted:
            return everyone([one.device for one in candidates])
        known = {one.device for one in candidates}
        try:
            found = self._selector.select(list(candidates), wanted, rng, ahead)
            if not isinstance(found, Selection):
                raise _Broken(f"returned {_kind(found)} in place of a Selection")
            return _settled(found, wanted, known)
        except _Broken as problem:
            raise Invalid(f"the selector '{self._name}' {problem}") from None
        except (Exception, SystemExit) as error:
            raise Invalid(f"the selector '{self._name}' failed: {_said(error)}") from error


class _Broken(Exception):
    """What a selector did that it must not."""


def _settled(found: Selection, wanted: int, known: set[str]) -> Selection:
    """The same with everything in it worked out."""
    devices, picked = list(found.devices), [operator.index(i) for i in found.picked]
    outside = next((i for i in picked if not 0 <= i < len(devices)), None)
    if outside is not None:
        raise _Broken(f"chose number {outside} of {len(devices)} devices")
    if problem := _problem(devices, picked, wanted, known):
        raise _Broken(problem)
    said = [_sentence(devices[i], found.explain(i)) for i in range(len(devices))]
    scores = None if found.scores is None else _numbers("scores", found.scores, len(devices))
    parts = {
        name: _numbers(f"values of '{name}'", values, len(devices))
        for name, values in found.parts.items()
    }
    if odd := [name for name in parts if not isinstance(name, str)]:
        raise _Broken(f"names a part of its scores {odd[0]!r}, which is no text")
    return Selection(devices, picked, said.__getitem__, scores, parts)


def _problem(devices: Sequence[str], picked: Sequence[int], wanted: int, known: set[str]) -> str:
    chosen = [devices[i] for i in picked]
    strangers = [device for device in [*chosen, *devices] if device not in known]
    if strangers:
        how = "chose" if strangers[0] in chosen else "decides on"
        return f"{how} {strangers[0]!r}, which is no candidate"
    if len(set(chosen)) < len(chosen):
        return "chose a device twice"
    if len(set(devices)) < len(devices):
        return "decides on a device twice"
    if len(chosen) > wanted:
        return f"chose {len(chosen)} clients where {wanted} were wanted"
    if not chosen and wanted > 0:
        return f"chose nobody of {len(known)} candidates where {wanted} were wanted"
    return ""


def _sentence(device: str, said: Any) -> str:
    if not isinstance(said, str):
        raise _Broken(f"says {_kind(said)} of '{device}' in place of a sentence")
    if len(said) > _SENTENCE:
        raise _Broken(
            f"says {len(said)} characters of '{device}', where a sentence has at most {_SENTENCE}"
        )
    return said


def _numbers(what: str, values: Any, count: int) -> Numbers:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise _Broken(f"gives {what} that are no numbers") from None
    if found.shape != (count,):
        size = found.size if found.ndim == 1 else f"an array {list(found.shape)} of"
        raise _Broken(f"gives {size} {what} for {count} devices")
    return found.copy()


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def _said(error: BaseException) -> str:
    """An error in so many words, on one line."""
    text = " ".join(str(error).split())
    short = text if len(text) <= _ERROR else f"{text[:_ERROR]}..."
    return f"{type(error).__name__}: {short}"
