"""From the command that starts a run to a global model of some accuracy: FedOps beside stock Flower.

The MNIST demo with three devices that wait for it. Both begin with the same weights, and train the same model
on the same parts of the data with the same seeds; that they do is checked. MNIST from FEDOPS_MNIST_DIR, else
scikit-learn's digits.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import median, options, report, say
from idle import QUIET
from safetensors.torch import save_file
from stock import stock_flower

from fedops.console.runs import accuracy_of
from fedops.core import contracts as c
from fedops.core.seeds import client_seed
from fedops.core.states import RUN_TERMINAL
from fedops.demo.data import DataSource, choose
from fedops.demo.federation import Federation, set_options
from fedops.demo.options import Plan
from fedops.demo.run import find_app
from fedops.scalize.flow.project import Project

#: The longest run. How many are needed says the data: about five for MNIST, seven for the digits.
PLAN = Plan(rounds=20)
TARGET = 0.9
TASK = "mnist"
LIMIT_SECONDS = 900.0
MUST_RATIO, GOAL_RATIO = 0.143, 0.11
#: How far apart the accuracies of a round may be: only the order of sums differs.
CLOSE = 0.03
COLUMNS = ("Way", "Repeats", "Median s", "Min s", "Max s", "First round s", "Rounds", "S a round")
#: Beside the demo's own: nobody evaluates on the clients, since the test images judge the model.
ALIKE = ("server.strategy.fraction_evaluate=0.0",)


@dataclass(frozen=True)
class Course:
    """The rounds of one run, from the first to the one that reached the target."""

    began: float
    #: When each round's model was there and judged, as ``time.time()``.
    moments: list[float]
    accuracies: list[float]
    #: By round: the examples that each device trained on, in the order of the devices.
    examples: list[list[int]]
    #: When the server had the run, where it is known: until then it is the command's own time.
    accepted: float | None = None

    @property
    def seconds(self) -> float:
        return self.moments[-1] - self.began

    @property
    def round_seconds(self) -> list[float]:
        """Of the rounds, but for the first."""
        return [after - before for before, after in itertools.pairwise(self.moments)]

    def require(self, target: float, way: str) -> None:
        """End the benchmark unless the target was reached."""
        if not self.accuracies or self.accuracies[-1] < target:
            raise SystemExit(
                f"{way} did not reach an accuracy of {target} in {PLAN.rounds} rounds: {self.accuracies};"
                " give a lower --target"
            )


# --- FedOps --------------------------------------------------------------------------------------


@contextmanager
def demo_federation(place: Path, data: DataSource) -> Iterator[Federation]:
    """The demo's server and devices, waiting for a run."""
    with Federation(place, {**QUIET, **data.env}) as federation:
        federation.start_server()
        federation.create_task(TASK, find_app(), data.overrides)
        for index, name in enumerate(PLAN.names):
            federation.join(name)
            overrides = PLAN.device_overrides(index, data)
            federation.start_client(name, find_app(), TASK, overrides=overrides)
        federation.until_ready(PLAN.names, seconds=120.0)
        yield federation


def on_fedops(place: Path, data: DataSource, target: float, initial: Path) -> Course:
    """Time a run of FedOps. ``initial`` becomes the file of the model that it began with."""
    overrides = set_options([*PLAN.overrides, *data.overrides, *ALIKE])
    with demo_federation(place, data) as federation:
        began = time.time()
        run = federation.admin("run", "start", TASK, *overrides)
        rounds = _rounds_until(federation, run["id"], target)
        with federation.operator() as operator:
            operator.download_model(TASK, "V0", initial)
    return Course(
        began,
        [one.committed_at for one in rounds if one.committed_at is not None],
        [accuracy_of(one) or 0.0 for one in rounds],
        [_examples(one) for one in rounds],
        run["created_at"],
    )


def _rounds_until(federation: Federation, run: int, target: float) -> list[c.RoundRead]:
    """The committed rounds up to the one that reached the target; all of them when none did."""

    def reached() -> list[c.RoundRead] | None:
        ended = operator.run(run).status in RUN_TERMINAL
        rounds = [one for one in operator.rounds(run) if one.committed_at is not None]
        for number, one in enumerate(rounds, start=1):
            if (accuracy_of(one) or 0.0) >= target:
                return rounds[:number]
        if ended and not rounds:
            raise SystemExit(f"the run ended without a round: {operator.run(run).why}")
        return rounds if ended else None

    with federation.operator() as operator:
        return federation.until("the target", reached, seconds=LIMIT_SECONDS, pause=0.5)


def _examples(round_: c.RoundRead) -> list[int]:
    found = {one.device: one.examples or 0 for one in round_.participations}
    return [found.get(name, 0) for name in PLAN.names]


# --- stock Flower --------------------------------------------------------------------------------


def write_exercise(folder: Path, data: DataSource, target: float) -> None:
    """What the devices of FedOps train and its server judges on, for the stock app: tensors and numbers."""
    config = _project(PLAN.overrides).config
    names = PLAN.names
    exercise = {
        "epochs": config.num_epochs,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "rounds": PLAN.rounds,
        "target": target,
        "seeds": [[_seed(name, 1 + number) for number in range(PLAN.rounds)] for name in names],
    }
    (folder / "exercise.json").write_text(json.dumps(exercise))
    for index in range(len(names)):
        part = _project([*PLAN.overrides, *PLAN.device_overrides(index, data)]).load_data()
        _save(part.train.tensors, folder / f"part-{index}.safetensors")
    test = _project([*PLAN.overrides, *data.overrides]).load_validation_data()
    assert test is not None, "the app has test images"
    _save(test[0].tensors, folder / "test.safetensors")


def _project(overrides: Sequence[str]) -> Project:
    return Project.open(find_app(), overrides)


def _seed(device: str, round_: int) -> int:
    """As a device of FedOps hands it to the app's train function."""
    return client_seed(PLAN.seed, device, round_) % 2**32


def _save(tensors: Sequence[Any], file: Path) -> None:
    save_file(dict(zip(("images", "labels"), tensors, strict=True)), file)


def on_stock(place: Path, folder: Path) -> Course:
    """Time a run of stock Flower on the exercise in ``folder``."""
    env = {"PYTHONPATH": str(find_app())}
    with stock_flower(place, PLAN.devices, env) as stock:
        stock.until_online()
        began = time.time()
        noted = stock.run("stock_mnist", f'folder="{folder}"', "noted.json", LIMIT_SECONDS)
    parts = [str(index) for index in range(PLAN.devices)]
    examples = [[said.get(part, 0) for part in parts] for said in noted["examples"]]
    return Course(began, noted["moments"], noted["accuracies"], examples)


# --- both ----------------------------------------------------------------------------------------


def measure_both(place: Path, data: DataSource, target: float) -> dict[str, Course]:
    """One after the other; both have learned the same."""
    folder = place / "exercise"
    folder.mkdir(parents=True)
    write_exercise(folder, data, target)
    say("FedOps ...")
    fedops = on_fedops(place / "fedops", data, target, folder / "initial.safetensors")
    fedops.require(target, "FedOps")
    say(f"{fedops.seconds:.1f} s; stock Flower ...")
    stock = on_stock(place / "stock", folder)
    stock.require(target, "stock Flower")
    say(f"{stock.seconds:.1f} s")
    require_alike(fedops, stock)
    return {"FedOps": fedops, "flower-supernode + FedAvg.start": stock}


def require_alike(fedops: Course, stock: Course) -> None:
    """End the benchmark when the two did not train the same: then their times compare nothing."""
    curves = f"FedOps {fedops.accuracies}, stock Flower {stock.accuracies}"
    for number, both in enumerate(zip(fedops.examples, stock.examples, strict=False), start=1):
        if both[0] != both[1] or not all(both[0]):
            raise SystemExit(f"round {number}: FedOps and stock Flower trained on {both} examples")
    if apart(fedops, stock) > CLOSE:
        raise SystemExit(f"the accuracies of a round differ by more than {CLOSE}: {curves}")


def apart(fedops: Course, stock: Course) -> float:
    """The largest difference between the accuracies of a round."""
    both = zip(fedops.accuracies, stock.accuracies, strict=False)
    return max(abs(one - other) for one, other in both)


def row(way: str, courses: Sequence[Course]) -> dict[str, Any]:
    """One way over all repeats; the accuracies are those of the first."""
    seconds = [course.seconds for course in courses]
    return {
        "way": way,
        "repeats": len(courses),
        "median_s": median(seconds),
        "min_s": min(seconds),
        "max_s": max(seconds),
        "command_s": median([one.accepted - one.began for one in courses if one.accepted]),
        "first_round_s": median([course.moments[0] - course.began for course in courses]),
        "rounds": median([len(course.accuracies) for course in courses]),
        "s_a_round": median([one for course in courses for one in course.round_seconds]),
        "examples": courses[0].examples[0],
        "accuracies": [round(accuracy, 4) for accuracy in courses[0].accuracies],
    }


def main() -> None:
    """Exit code 1 when FedOps takes more of stock Flower's time than is promised."""
    parser = options(__doc__ or "")
    parser.add_argument("--target", type=float, default=TARGET, help="accuracy on the test images")
    chosen = parser.parse_args()
    repeats = 1 if chosen.quick else 3
    data = choose(None, download=False)
    say(f"data: {data.description}")
    with tempfile.TemporaryDirectory(prefix="fedops-bench-") as place:
        found = [
            measure_both(Path(place) / str(number), data, chosen.target)
            for number in range(repeats)
        ]
    rows = [row(way, [courses[way] for courses in found]) for way in found[0]]
    ratio = rows[0]["median_s"] / rows[1]["median_s"]
    difference = max(apart(*courses.values()) for courses in found)
    result = {
        "benchmark": "time_to_accuracy",
        "what": f"the MNIST demo to an accuracy of {chosen.target}, {PLAN.devices} devices",
        "rows": rows,
        "target": chosen.target,
        "data": data.description,
        "ratio": ratio,
        "must": MUST_RATIO,
        "goal": GOAL_RATIO,
        "accuracies_differ_by": difference,
        "ok": ratio <= MUST_RATIO,
        "notes": [
            *(f"Accuracies by round, {one['way']}: {one['accuracies']}" for one in rows),
            f"FedOps took {ratio:.3f} of stock Flower's time (promised: {MUST_RATIO} or less; goal:"
            f" {GOAL_RATIO}). The accuracies of a round differ by {difference:.4f} at most.",
        ],
    }
    report(result, chosen.json, COLUMNS)
    sys.exit(0 if result["ok"] else 1)


if __name__ == "__main__":
    main()
