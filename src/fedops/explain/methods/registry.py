"""The methods for images by name: ours, and those of installed packages."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.metadata import entry_points
from typing import cast

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.explain.methods.base import Method
from fedops.explain.methods.cam import CAMS, Cam, ScoreCam
from fedops.explain.methods.gradients import IntegratedGradients, Saliency, SmoothGrad
from fedops.explain.methods.optional_libraries import captum_attr
from fedops.explain.methods.perturbation import KernelShap, Occlusion

GROUP = "fedops.explainers"
TABULAR = ("permutation", "shap")
_OTHER_NAMES = {
    "grad-cam": "gradcam",
    "gradcampp": "gradcam++",
    "grad-cam++": "gradcam++",
    "score-cam": "scorecam",
    "layer-cam": "layercam",
    "ig": "integrated_gradients",
    "permutation_importance": "permutation",
}
_BY_CAPTUM = ("integrated_gradients", "occlusion", "saliency", "smoothgrad")
_REFUSED = ("guided_backprop", "guided_backpropagation", "guided_gradcam", "guided_grad_cam")

BUILT_IN: dict[str, Callable[[], Method]] = {
    **{name: partial(Cam, name, combine) for name, combine in CAMS.items()},
    "scorecam": ScoreCam,
    "integrated_gradients": IntegratedGradients,
    "occlusion": Occlusion,
    "saliency": Saliency,
    "smoothgrad": SmoothGrad,
    "kernelshap": KernelShap,
}


def known() -> list[str]:
    """Every name that ``xai.methods`` may hold."""
    added = [entry.name for entry in entry_points(group=GROUP)]
    return list(dict.fromkeys([*BUILT_IN, *TABULAR, *added]))


def canonical(name: str) -> str:
    """The name as this module spells it.

    Raises:
        Invalid: there is no such method, or it is not offered.
    """
    folded = name.strip().casefold()
    folded = _OTHER_NAMES.get(folded, folded)
    if folded.replace("-", "_") in _REFUSED:
        raise Invalid(
            f"'{name}' is not offered: its pictures hardly change when the model's weights are made "
            f"random, so they do not explain the model. Choose from {comma_list(known())}"
        )
    by_folded = {one.casefold(): one for one in known()}
    if folded not in by_folded:
        guess = did_you_mean(name, by_folded.values())
        end = "" if guess else "."
        raise Invalid(
            f"there is no explanation method '{name}'{guess}{end} Known: {comma_list(known())}"
        )
    return by_folded[folded]


def make(name: str) -> Method:
    """The method of this (canonical) name. Installed packages may not replace ours.

    Raises:
        Invalid: it is none for images, or a library that it needs is not installed.
    """
    if name in _BY_CAPTUM:
        captum_attr()
    if name in BUILT_IN:
        return BUILT_IN[name]()
    for entry in entry_points(group=GROUP, name=name):
        try:
            return cast(Method, entry.load()())
        except Exception as error:
            raise Invalid(
                f"the explanation method '{name}' ({entry.value}) fails: {error}"
            ) from error
    raise Invalid(f"'{name}' explains tables, not images; choose from {comma_list(BUILT_IN)}")
