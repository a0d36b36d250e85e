"""The door for programs that may run without XAI: nothing is imported until it is enabled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedops.core.errors import Invalid
from fedops.explain.explainers.options import Limits, Options

if TYPE_CHECKING:
    from fedops.explain.service.explainer import Explainer


def open_explainer(
    xai: Any,
    model: Any,
    data: Any,
    *,
    base: Path,
    seed: int = 42,
    limits: Limits | None = None,
    names: Sequence[str] = (),
    kept: bool = True,
) -> Explainer | None:
    """An explainer for ``[xai]`` of a config, writing below ``base``; None when XAI is off.

    Without ``kept`` nothing is written but where each ``run`` says.

    Raises:
        Invalid: the section, the layer, the model or the data cannot be explained, with what to do.
        Unavailable: the output folder cannot be written to.
    """
    options = Options.of(xai, seed)
    if not options.within(limits or Limits())[0].enabled:
        return None
    folder = options.folder(
        base
    )  # refused where it leads out of there, also when nothing is written
    try:
        from fedops.explain.service.explainer import Explainer
    except ModuleNotFoundError as error:
        raise Invalid(
            f"xai.enabled = true needs '{error.name}', which is not installed here; "
            "install it with: pip install 'fedops[xai]'"
        ) from None
    return Explainer.open(
        model,
        options,
        data,
        folder=folder if kept else None,
        seed=seed,
        limits=limits,
        names=names,
    )
