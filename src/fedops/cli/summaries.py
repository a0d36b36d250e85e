"""Which runs a summary is over: those named, or all of the study that one belongs to."""

from __future__ import annotations

from collections.abc import Sequence

from fedops.api_client import OperatorClient
from fedops.core import contracts as c
from fedops.core.errors import Invalid
from fedops.results.summary import RunsSummary, summarise_runs


def read_summary(client: OperatorClient, run_ids: Sequence[int], study: int | None) -> RunsSummary:
    """The summary of these runs. A single run of a study stands for all of them.

    Raises:
        NotFound: there is no such run or study.
        Invalid: nothing is named, or both are.
    """
    if (study is None) == (not run_ids):
        raise Invalid("name the runs of the summary, or a study (--study N), and not both")
    runs = [client.run(run_id) for run_id in dict.fromkeys(run_ids)]
    if len(runs) == 1:
        study = runs[0].study
    not_begun: list[int] = []
    if study is not None:
        found = client.study(study)
        begun = sum(run.parent is None for run in found.runs)  # the others retry one of these
        runs, not_begun = found.runs, found.seeds[begun:]
    return summarise_runs([(run, all_rounds(client, run)) for run in runs], not_begun)


def all_rounds(client: OperatorClient, run: c.RunRead) -> list[c.RoundRead]:
    """A run's rounds, with those before it of the run that it goes on from."""
    rounds = [r for r in client.rounds(run.id) if r.committed_at is not None]
    if run.parent is None or run.first_round <= 1:
        return rounds
    before = all_rounds(client, client.run(run.parent))
    return [*(r for r in before if r.round < run.first_round), *rounds]
