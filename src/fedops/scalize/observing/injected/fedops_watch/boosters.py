"""Boosters of trees: seen, and named as what cannot be averaged."""

from __future__ import annotations

import functools
from typing import Any

from fedops_watch import places
from fedops_watch.ending import Ending
from fedops_watch.recorder import Recorder
from fedops_watch.shield import shielded

#: What every training of theirs calls: package -> class, method.
_TRAINS = {
    "xgboost": ("Booster", "update"),
    "lightgbm": ("Booster", "update"),
    "catboost": ("CatBoost", "_fit"),
}


def install(package: Any, recorder: Recorder, end: Ending) -> None:
    kind, method = _TRAINS[package.__name__]
    owner = getattr(package, kind)
    plain = getattr(owner, method)
    boosters = Boosters(recorder, package.__name__)
    seen = shielded(boosters.seen)

    @functools.wraps(plain)
    def call(booster: Any, *args: Any, **kwargs: Any) -> Any:
        seen()
        return plain(booster, *args, **kwargs)

    setattr(owner, method, call)
    recorder.at_end(boosters.tell, last=True)


class Boosters:
    def __init__(self, recorder: Recorder, package: str) -> None:
        self._recorder, self._package = recorder, package
        self._where: str | None = None

    def seen(self) -> None:
        if self._where is None and not self._recorder.inert:
            self._where = places.of_caller()
            self._recorder.claim()

    def tell(self) -> None:
        if self._where is None:
            return
        text = (
            f"{self._package} grows trees, which differ by device and have no mean; a network of dense "
            "layers, or scikit-learn's MLPClassifier or SGDClassifier, learns from the same columns and "
            "can be averaged"
        )
        weight = "difference" if self._recorder.models else "refusal"
        self._recorder.note("not_averageable", text, self._where, weight)
