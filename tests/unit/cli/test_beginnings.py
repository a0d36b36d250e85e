"""What the options of 'fedops run start' ask for."""

from __future__ import annotations

import pytest

from fedops.api_client import OperatorClient
from fedops.cli.beginnings import read_beginning
from fedops.core.errors import Invalid


@pytest.fixture
def nobody() -> OperatorClient:
    """Nothing here needs a server."""
    return OperatorClient("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("text", "seeds"), [("5", 5), ("1,2,3", [1, 2, 3]), ("7,", [7]), (None, None)]
)
def test_seeds_are_a_number_of_runs_or_named(
    nobody: OperatorClient, text: str | None, seeds: object
) -> None:
    assert read_beginning(nobody, "mnist", None, text, []).seeds == seeds


@pytest.mark.parametrize("text", ["five", "1,,2", "", "-1", "3,3"])
def test_what_is_no_seed_is_refused(nobody: OperatorClient, text: str) -> None:
    with pytest.raises(Invalid, match="--seeds"):
        read_beginning(nobody, "mnist", None, text, [])


def test_as_many_runs_as_no_study_has_are_refused(nobody: OperatorClient) -> None:
    with pytest.raises(Invalid, match="1 to 1000 runs; a comma makes it a seed: --seeds 0,"):
        read_beginning(nobody, "mnist", None, "0", [])


@pytest.mark.parametrize(
    ("from_", "seeds", "version", "new"),
    [
        (None, None, None, False),
        ("new", None, None, True),
        ("V3", None, 3, False),
        (None, "5", None, True),
        ("V3", "5", 3, False),
    ],
)
def test_where_a_run_starts_from(
    nobody: OperatorClient, from_: str | None, seeds: str | None, version: int | None, new: bool
) -> None:
    found = read_beginning(nobody, "mnist", from_, seeds, [])
    assert (found.version, found.new_model) == (version, new)


def test_seeds_and_a_seed_contradict_each_other(nobody: OperatorClient) -> None:
    read_beginning(nobody, "mnist", None, "5", ["random_seed=3"])  # counted up from 3
    with pytest.raises(Invalid, match="names the seeds already"):
        read_beginning(nobody, "mnist", None, "1,2", ["random_seed=3"])
