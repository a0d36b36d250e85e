"""A request is counted under a name out of a list that has an end."""

from __future__ import annotations

from fedops.server.measures.routes import Routes

ROUTES = Routes(["GET /devices/{device}", "GET /devices/me", "GET /", "POST /runs/{run_id}/stop"])


def test_a_path_has_the_name_of_its_template() -> None:
    assert ROUTES.names("GET", "/devices/pi-1") == ("/devices/{device}", "GET")
    assert ROUTES.names("GET", "/devices/me") == ("/devices/me", "GET")
    assert ROUTES.names("HEAD", "/") == ("/", "HEAD")


def test_what_is_no_route_is_another() -> None:
    assert ROUTES.names("GET", "/devices/pi-1/more") == ("other", "GET")
    assert ROUTES.names("POST", "/devices/pi-1") == ("other", "POST")
    assert ROUTES.names("BREW", "/") == ("other", "other")
    assert ROUTES.names("GET", "/" * 10_000) == ("other", "GET")
