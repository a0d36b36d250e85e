"""Every page, form and resource has a rule, and every rule of the pages is one's."""

from __future__ import annotations

from collections.abc import Iterator

from fedops.server.access.permissions import GROUPS
from fedops.server.dashboard.mounting import FORMS, PAGES, RESOURCES
from fedops.server.dashboard.web.assets import FOLDER, assets
from fedops.server.dashboard.web.templates import environment

#: Those that are no page with panels, no form and no resource.
OTHERS = {
    "GET /assets/{name}",
    "GET /sign-in",
    "POST /sign-in",
    "POST /sign-out",
    "POST /theme",
    "WEBSOCKET /live",
}


def _served() -> Iterator[str]:
    yield from (f"GET {page.path}" for page in PAGES)
    yield from (f"GET {one.path}" for one in RESOURCES)
    for form in FORMS:
        yield from (f"GET {form.path}", f"POST {form.path}")


def test_pages_forms_and_resources_are_those_of_the_table() -> None:
    served = list(_served())
    assert len(served) == len(set(served))
    assert set(served) | OTHERS == set(GROUPS["Pages, by the session of a browser"])


def test_every_template_is_right_and_no_style_or_script_stands_in_one() -> None:
    for name in environment().list_templates():
        source, _, _ = environment().loader.get_source(environment(), name)  # type: ignore[union-attr]
        environment().parse(source)
        assert ' style="' not in source, name
        assert "<script>" not in source, name
        assert " onclick" not in source, name


def test_every_asset_is_named_by_its_content() -> None:
    assert all((FOLDER / name).stem in one.url for name, one in assets().items())
    assert len({one.url for one in assets().values()}) == len(assets())
