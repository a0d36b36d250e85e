"""The scoring process as the FL server sees it: it may be killed, and it may take too long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedops.core import contracts as c
from fedops.engine.scoring.scorer import ScoringFailed, ScoringJob
from fedops.flower.scoring.child_scorer import ChildScorer

#: A process that does as told in its first life, and as told then in all later ones.
LIVES = """
import json, os, sys, time
from pathlib import Path
folder, lives = Path(sys.argv[3]).parent, Path(sys.argv[1])
number = len(lives.read_text()) if lives.exists() else 0
lives.write_text("x" * (number + 1))
does = sys.argv[2].split(",")
does = does[min(number, len(does) - 1)]
job = folder / "job-1.json"
while not job.exists():
    time.sleep(0.01)
asked = json.loads(job.read_text())
if does == "killed":
    os.kill(os.getpid(), 9)
if does == "ends":
    print("no such file")
    sys.exit(3)
answers = {"scores": asked["round"], "says nonsense": 0}
if does in answers:
    part = folder / "answer.part"
    part.write_text(json.dumps({"scores": {"round": answers[does]}}))
    part.rename(folder / "answer-1.json")
time.sleep(60)
"""
JOB = ScoringJob(3, c.ScoringPlan(), 1, Path("before"), None, [], {})
Making = Callable[[str], ChildScorer]


@pytest.fixture
def scorer(tmp_path: Path) -> Iterator[Making]:
    made: list[ChildScorer] = []

    def make(lives: str) -> ChildScorer:
        command = [sys.executable, "-c", LIVES, str(tmp_path / "lives"), lives]
        made.append(ChildScorer(tmp_path, {}, 1, tmp_path / "scoring", command))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_another_process_is_asked_for_the_one_that_was_killed(
    scorer: Making, tmp_path: Path
) -> None:
    assert scorer("killed,scores").score(JOB, 30).round == 3
    assert (tmp_path / "lives").read_text() == "xx"


@pytest.mark.parametrize(
    ("lives", "said"),
    [
        (
            "killed",
            r"its process was killed \(signal 9\), for the second time; if .* memory ran out",
        ),
        ("ends", r"its process ended with code 3, saying 'no such file', for the second time$"),
    ],
)
def test_the_second_time_it_is_given_up(
    scorer: Making, tmp_path: Path, lives: str, said: str
) -> None:
    with pytest.raises(ScoringFailed, match=said):
        scorer(lives).score(JOB, 30)
    assert (tmp_path / "lives").read_text() == "xx"


def test_how_long_it_took_is_said_and_what_to_do(scorer: Making, tmp_path: Path) -> None:
    said = "it was not done after 1 s; set max_seconds, or a smaller max_evaluations, in"
    with pytest.raises(ScoringFailed, match=said):
        scorer("sleeps").score(JOB, 1)
    assert (tmp_path / "lives").read_text() == "x"


def test_an_answer_that_is_none_is_said_in_a_sentence(scorer: Making) -> None:
    said = "^its answer cannot be read: round: Input should be greater than or equal to 1$"
    with pytest.raises(ScoringFailed, match=said):
        scorer("says nonsense").score(JOB, 30)
