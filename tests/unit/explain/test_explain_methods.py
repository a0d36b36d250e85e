from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch

from fedops.core.errors import Invalid
from fedops.explain import methods
from fedops.explain.base import Job, Maps


@pytest.mark.parametrize("name", list(methods.BUILT_IN))
def test_every_method_is_made_by_its_name(name: str) -> None:
    assert methods.make(name).name == name


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("GradCAM", "gradcam"),
        ("Grad-CAM", "gradcam"),
        ("Grad-CAM++", "gradcam++"),
        ("IG", "integrated_gradients"),
        (" hirescam ", "hirescam"),
        ("permutation_importance", "permutation"),
    ],
)
def test_usual_spellings(given: str, name: str) -> None:
    assert methods.canonical(given) == name


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(
        Invalid, match=r"no explanation method 'gradcan'; did you mean 'gradcam'\?.*'shap'"
    ):
        methods.canonical("gradcan")


@pytest.mark.parametrize("name", ["guided_backprop", "Guided-Backprop", "guided_gradcam"])
def test_guided_backpropagation_is_not_offered_and_why(name: str) -> None:
    with pytest.raises(Invalid, match="is not offered: its pictures hardly change when"):
        methods.canonical(name)


class Centre:
    """What a package of others may bring."""

    name, needs_layer, signed, enlarge, group = "centre", False, False, "nearest", 8

    def explain(self, job: Job) -> Maps:
        maps = torch.zeros(len(job.inputs), 4, 4)
        maps[:, 1:3, 1:3] = 1
        return Maps(maps)


def fails() -> Any:
    raise RuntimeError("no licence")


@pytest.fixture
def _others(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        EntryPoint("centre", f"{__name__}:Centre", methods.GROUP),
        EntryPoint("broken", f"{__name__}:fails", methods.GROUP),
        EntryPoint("gradcam", f"{__name__}:Centre", methods.GROUP),
    ]

    def found(group: str, name: str | None = None) -> list[EntryPoint]:
        return [entry for entry in entries if group == methods.GROUP and name in (None, entry.name)]

    monkeypatch.setattr(methods, "entry_points", found)


@pytest.mark.usefixtures("_others")
def test_methods_of_other_packages() -> None:
    assert "centre" in methods.known()
    assert type(methods.make(methods.canonical("Centre"))).__name__ == "Centre"
    assert methods.make("gradcam").needs_layer, "ours cannot be replaced"


@pytest.mark.usefixtures("_others")
def test_a_method_that_fails_to_load_names_its_package() -> None:
    with pytest.raises(Invalid, match=r"'broken' \(.*:fails\) fails: no licence"):
        methods.make("broken")


def test_a_method_for_tables_is_none_for_images() -> None:
    with pytest.raises(Invalid, match="'shap' explains tables, not images"):
        methods.make("shap")
