from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch

from fedops.core.errors import Invalid
from fedops.explain.methods import registry
from fedops.explain.methods.base import Job, Maps


@pytest.mark.parametrize("name", list(registry.BUILT_IN))
def test_every_method_is_made_by_its_name(name: str) -> None:
    assert registry.make(name).name == name


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
    assert registry.canonical(given) == name


def test_an_unknown_method_lists_the_known_ones() -> None:
    with pytest.raises(
        Invalid, match=r"no explanation method 'gradcan'; did you mean 'gradcam'\?.*'shap'"
    ):
        registry.canonical("gradcan")


@pytest.mark.parametrize("name", ["guided_backprop", "Guided-Backprop", "guided_gradcam"])
def test_guided_backpropagation_is_not_offered_and_why(name: str) -> None:
    with pytest.raises(Invalid, match="is not offered: its pictures hardly change when"):
        registry.canonical(name)


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
        EntryPoint("centre", f"{__name__}:Centre", registry.GROUP),
        EntryPoint("broken", f"{__name__}:fails", registry.GROUP),
        EntryPoint("gradcam", f"{__name__}:Centre", registry.GROUP),
    ]

    def found(group: str, name: str | None = None) -> list[EntryPoint]:
        return [
            entry for entry in entries if group == registry.GROUP and name in (None, entry.name)
        ]

    monkeypatch.setattr(registry, "entry_points", found)


@pytest.mark.usefixtures("_others")
def test_methods_of_other_packages() -> None:
    assert "centre" in registry.known()
    assert type(registry.make(registry.canonical("Centre"))).__name__ == "Centre"
    assert registry.make("gradcam").needs_layer, "ours cannot be replaced"


@pytest.mark.usefixtures("_others")
def test_a_method_that_fails_to_load_names_its_package() -> None:
    with pytest.raises(Invalid, match=r"'broken' \(.*:fails\) fails: no licence"):
        registry.make("broken")


def test_a_method_for_tables_is_none_for_images() -> None:
    with pytest.raises(Invalid, match="'shap' explains tables, not images"):
        registry.make("shap")
