"""Templates: HTML with what pages are told, everything escaped, and a name that is missing is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fedops.server.dashboard.look import drawings, numbers, states, times
from fedops.server.dashboard.web import assets

FOLDER = Path(__file__).parent.parent / "templates"


def render(template: str, /, **data: Any) -> str:
    """A template with this data, as text."""
    return environment().get_template(template).render(data)


@cache
def environment() -> Environment:
    """Made once: templates are compiled when they are first used, and do not change while the server runs."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        cache_size=-1,
    )
    made.filters.update(_filters())
    made.globals.update(asset=assets.url_of, build=assets.build, sparkline=drawings.sparkline)
    return made


def _filters() -> Mapping[str, Any]:
    return {
        "ago": times.ago,
        "span": times.span,
        "exact": times.exact,
        "clock": times.clock,
        "size": numbers.size,
        "number": numbers.number,
        "count": numbers.count,
        "percent": numbers.percent,
        "metric": numbers.metric,
        "short": numbers.short,
        "look": states.look_of,
        "data": as_data,
    }


#: What would end a script element, or begin another, inside it.
_UNSAFE = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def as_data(value: Any) -> Markup:
    """A value as JSON that may stand in ``<script type="application/json">``."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.translate(_UNSAFE))
