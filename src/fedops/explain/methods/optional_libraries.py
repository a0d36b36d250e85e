"""The doors to the large libraries: opened when a method needs one, with a clear word if it is missing.

Some of them warn when they are imported; that is nothing a user can mend.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from fedops.core.errors import Invalid


def library(name: str) -> Any:
    """The module ``name``.

    Raises:
        Invalid: it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        top = name.partition(".")[0]
        raise Invalid(
            f"XAI needs '{error.name or top}', which is not installed here; "
            "install it with: pip install 'fedops[xai]'"
        ) from None


def captum_attr() -> Any:
    """``captum.attr``"""
    return library("captum.attr")
