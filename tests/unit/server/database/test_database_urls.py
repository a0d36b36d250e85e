"""Which databases there can be."""

import pytest

from fedops.core.errors import Invalid
from fedops.server.database.database import Database, parse_url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_by_any_of_its_names(scheme: str) -> None:
    assert parse_url(f"{scheme}://me:pw@host/name").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "url", ["nonsense", "mysql://me:secret@host/name", "postgresql://h:x/name", ""]
)
def test_what_is_no_database_of_ours(url: str) -> None:
    with pytest.raises(Invalid, match="FEDOPS_DATABASE_URL") as caught:
        parse_url(url)
    assert "secret" not in caught.value.message


def test_a_driver_that_is_not_installed_is_named() -> None:
    with pytest.raises(Invalid, match=r"fedops\[postgres\]"):
        Database("postgresql+pg8000://me@host/name")
