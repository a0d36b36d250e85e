"""Contribution evaluation on MNIST: how near to exact at which cost, and who is found to be no honest client.

10 clients with the CNN of the demo, and 16 with a small MLP. Of the 10, six train honestly (one is an exact
copy of another), two have 60 % random labels, one returns the model as it was, and one replays the last
global change. Exact values come from all coalitions; the estimates are looked up in the same table, so that
many repeats cost nothing. MNIST from FEDOPS_MNIST_DIR, else scikit-learn's digits.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from common import median, options, report, say
from mnist_federation import CLASSES, Exercise, Federation, Images, Played, bad_clients, cnn, mlp

from fedops.algorithms.contribution.coalition_models import CoalitionModels, utility_of_models
from fedops.algorithms.contribution.coalitions import membership
from fedops.algorithms.contribution.contribution_history import ContributionHistory, add_round
from fedops.algorithms.contribution.estimators import estimate
from fedops.algorithms.contribution.game import Game
from fedops.algorithms.contribution.gradient_scores import cgsv, dig_fl
from fedops.algorithms.contribution.semivalues import leave_one_out
from fedops.algorithms.contribution.utilities import log_likelihood
from fedops.algorithms.integrity.judging import judge_round
from fedops.algorithms.integrity.update_evidence import RoundContext, measure_updates
from fedops.demo.data import choose

VALIDATION = 500
TEN = {5: "copy", 6: "wrong_labels", 7: "wrong_labels", 8: "null", 9: "replay"}
SIXTEEN = {
    9: "copy",
    **dict.fromkeys((10, 11, 12), "wrong_labels"),
    **dict.fromkeys((13, 14), "null"),
    15: "replay",
}
#: Six devices of which one sends noise and one replays.
SIX = {4: "noise", 5: "replay"}
#: Cosine distance to exact, and with how many evaluations.
MUST = {10: (0.01, 140), 16: (0.025, 550)}
MUST_AUC = 0.95
BUDGETS = {10: (60, 80, 100, 140, 200, 300), 16: (96, 160, 320, 550, 1000)}
SAMPLED = ("kernel_shap", "guided_permutations")
COLUMNS = ("What", "Evaluations", "Median", "Mean", "Most", "Must")


# --- what coalitions achieve -----------------------------------------------------------------------


def evaluated_by(federation: Federation) -> Callable[[dict[str, np.ndarray]], np.ndarray]:
    """The mean log-likelihood on the validation images, then that of each class."""
    labels = federation.images.validation_labels.numpy()

    @torch.no_grad()
    def evaluate(model: dict[str, np.ndarray]) -> np.ndarray:
        federation.load(model)
        federation.model.eval()
        probabilities = torch.softmax(federation.model(federation.images.validation), 1).numpy()
        return log_likelihood(probabilities, labels, CLASSES)

    return evaluate


def game_of(federation: Federation, played: Played) -> Game:
    """The game of a round, evaluated model by model."""
    models = CoalitionModels(played.before, played.updates, played.weights)
    utility = utility_of_models(models, evaluated_by(federation))
    return Game(len(played.updates), utility, weights=played.weights)


def mlp_table(federation: Federation, played: Played, at_once: int = 64) -> np.ndarray:
    """U of all coalitions. The first layer is linear in the weights: its outputs are averaged instead."""
    images = federation.images.validation.flatten(1).double()
    labels = federation.images.validation_labels
    everybody = [*played.updates, played.before]
    stacked = {
        name: torch.stack([torch.from_numpy(one[name]).double() for one in everybody])
        for name in played.before
    }
    hidden = torch.einsum("vd,nhd->nvh", images, stacked["1.weight"]) + stacked["1.bias"][:, None]
    count = len(played.updates)
    table = np.empty(1 << count)
    for start in range(0, 1 << count, at_once):
        coalitions = range(start, min(start + at_once, 1 << count))
        shares = _shares(coalitions, played.weights)
        inner = torch.relu(torch.einsum("cn,nvh->cvh", shares, hidden)).float()
        weight = torch.einsum("cn,nkh->ckh", shares, stacked["3.weight"]).float()
        bias = (shares @ stacked["3.bias"]).float()
        outputs = torch.baddbmm(bias[:, None], inner, weight.transpose(1, 2))
        chosen = torch.log_softmax(outputs, 2)[:, torch.arange(len(labels)), labels]
        table[coalitions.start : coalitions.stop] = chosen.clamp(min=np.log(1e-6)).mean(1).numpy()
    return table


def _shares(coalitions: Sequence[int], weights: Sequence[int]) -> torch.Tensor:
    """Of each client in each coalition; the last column is the model before, for the empty one."""
    joined = membership(coalitions, len(weights)) * np.asarray(weights, float)
    totals = joined.sum(1, keepdims=True)
    shares = np.divide(joined, totals, out=np.zeros_like(joined), where=totals > 0)
    return torch.from_numpy(np.column_stack([shares, (totals[:, 0] == 0).astype(float)]))


# --- how near estimates come -----------------------------------------------------------------------


@dataclass
class Tables:
    """U of all coalitions, round by round, of one federation."""

    players: int
    rounds: list[np.ndarray] = field(default_factory=list)

    def values(self, method: str, budget: int, seed: int) -> np.ndarray:
        """By round and client."""
        return np.stack(
            [
                self._round(table, method, budget, np.random.default_rng([seed, number]))
                for number, table in enumerate(self.rounds)
            ]
        )

    def _round(
        self, table: np.ndarray, method: str, budget: int, rng: np.random.Generator
    ) -> np.ndarray:
        game = Game(self.players, lambda coalitions: table[list(coalitions)], budget)
        return estimate(game, method, budget, rng).values


def distance(found: np.ndarray, exact: np.ndarray) -> float:
    """1 - cosine."""
    return 1.0 - float(found @ exact / (np.linalg.norm(found) * np.linalg.norm(exact)))


def nearness(all_tables: Sequence[Tables], label: str, repeats: int) -> list[dict[str, Any]]:
    """Of each method and budget: the distance to exact of single rounds, and of their sum."""
    players = all_tables[0].players
    exact = [tables.values("shapley", 1 << players, 0) for tables in all_tables]
    fixed = [("leave_one_out", players + 1), ("individual", players + 1)]
    sampled = [(method, budget) for method in SAMPLED for budget in BUDGETS[players]]
    rows = []
    for method, budget in [*fixed, *sampled]:
        single, summed = [], []
        for tables, truth in zip(all_tables, exact, strict=True):
            for seed in range(repeats if (method, budget) in sampled else 1):
                found = tables.values(method, budget, seed)
                single += [distance(a, b) for a, b in zip(found, truth, strict=True)]
                summed.append(distance(found.sum(0), truth.sum(0)))
        where = f"n={players}, {label}, {method}"
        must = MUST[players][0] if (method, budget) == ("kernel_shap", MUST[players][1]) else None
        rows.append(row(f"{where}, a round", budget, single, must))
        if len(all_tables[0].rounds) > 1:
            rows.append(row(f"{where}, all rounds", budget, summed, must))
    return rows


def row(what: str, evaluations: int | None, found: Sequence[float], must: Any) -> dict[str, Any]:
    return {
        "what": what,
        "evaluations": evaluations,
        "median": median(found),
        "mean": float(np.mean(found)),
        "most": float(max(found)),
        "must": must,
    }


# --- who is found ----------------------------------------------------------------------------------


@dataclass
class Judged:
    """One federation over its rounds: scores of each client by each method, and findings."""

    roles: dict[int, str]
    scores: dict[str, np.ndarray]
    history: ContributionHistory
    #: In which round each client had its first confirmed finding.
    found_in: dict[int, int] = field(default_factory=dict)

    def auc(self, method: str) -> float:
        """How often a good client scores better than a bad one."""
        bad = bad_clients(self.roles)
        scores = self.scores[method]
        good = [i for i in range(len(scores)) if i not in bad]
        better = [
            (scores[g] > scores[b]) + 0.5 * (scores[g] == scores[b]) for g in good for b in bad
        ]
        return float(np.mean(better))

    def findings(self) -> dict[str, list[str]]:
        """By role, of every client that has any."""
        found: dict[str, list[str]] = {}
        for name, one in self.history.clients.items():
            role = self.roles.get(int(name), "honest")
            found.setdefault(role, []).extend(f.name for f in one.integrity.findings)
        return found


def judge(federation: Federation, rounds: int, tables: Tables | None = None) -> Judged:
    """Play and judge. With ``tables``, all coalitions of each round are evaluated and kept."""
    players = federation.exercise.clients
    history = ContributionHistory()
    sums: dict[str, np.ndarray] = {}
    judged = Judged(dict(federation.exercise.roles), sums, history)
    for played in federation.rounds(rounds):
        game = game_of(federation, played)
        left_out = leave_one_out(game)
        gradients = federation.gradients(played.before)
        found = {
            "leave-one-out": left_out.values,
            "DIG-FL": dig_fl(played.updates, played.before, played.weights, gradients).values,
            "CGSV": cgsv(played.updates, played.before, played.weights).values,
        }
        if tables is not None:
            tables.rounds.append(game.payoffs(range(1 << players))[:, 0])
            found["exact Shapley"] = estimate(
                game, "shapley", 1 << players, np.random.default_rng(0)
            ).values
        for name, values in found.items():
            sums[name] = sums.get(name, 0.0) + values
        context = RoundContext(played.previous_change, gradients, left_out.table)
        evidence = measure_updates(played.updates, played.before, played.weights, context)
        names = [str(i) for i in range(players)]
        history = add_round(history, played.number, names, left_out, judge_round(evidence))
        for name in names:
            if history.clients[name].integrity.findings:
                judged.found_in.setdefault(int(name), played.number)
    sums["integrity"] = np.array([history.clients[name].integrity.score or 0.0 for name in names])
    judged.history = history
    return judged


def detection(all_judged: Sequence[Judged], label: str) -> list[dict[str, Any]]:
    """AUC of every score there is."""
    methods = dict.fromkeys(method for one in all_judged for method in one.scores)
    rows = []
    for method in methods:
        found = [one.auc(method) for one in all_judged if method in one.scores]
        must = MUST_AUC if method == "integrity" else None
        rows.append(row(f"AUC, {label}, {method}", None, found, must))
    return rows


def findings_note(all_judged: Sequence[Judged], label: str) -> str:
    """How many of each role were found to be what."""
    clients: dict[str, int] = {}
    found: dict[str, dict[str, int]] = {}
    for one in all_judged:
        for i in range(len(one.history.clients)):
            role = one.roles.get(i, "honest")
            clients[role] = clients.get(role, 0) + 1
        for role, names in one.findings().items():
            for name in names:
                counts = found.setdefault(role, {})
                counts[name] = counts.get(name, 0) + 1
    said = [
        f"{role} {', '.join(f'{n} {name}' for name, n in found.get(role, {}).items()) or 'none'} of {total}"
        for role, total in clients.items()
    ]
    return f"Findings, {label}: " + "; ".join(said) + "."


# --- all of it -------------------------------------------------------------------------------------


def main() -> None:
    """Exit code 1 when a distance or an AUC misses what is promised."""
    chosen = options(__doc__ or "").parse_args()
    quick = chosen.quick
    torch.set_num_threads(1)  # small models: two threads mostly wait for each other
    source = choose(None, download=False)
    images = Images.read(source, VALIDATION)
    say(f"data: {source.description}, {len(images.labels)} images to train on")
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    exact_rounds, rounds = (3, 8) if quick else (8, 15)
    exact_seeds, seeds = (1, 3) if quick else (3, 5)
    for alpha in (0.5, 100.0):
        label = f"Dirichlet {alpha:g}"
        tables, judged = [], []
        for seed in range(exact_seeds):
            federation = Federation(Exercise(cnn, 10, TEN, alpha, seed), images)
            kept = Tables(10)
            timed(
                f"exact, n=10, {label}, seed {seed}",
                lambda f=federation, k=kept: judge(f, exact_rounds, k),
            )
            tables.append(kept)
        rows += nearness(tables, label, repeats=10)
        for seed in range(seeds):
            federation = Federation(Exercise(cnn, 10, TEN, alpha, seed), images)
            judged.append(
                timed(f"integrity, {label}, seed {seed}", lambda f=federation: judge(f, rounds))
            )
        rows += detection(judged, label)
        notes.append(findings_note(judged, label))
    rows += sixteen(images, seeds=1 if quick else 2, rounds=2 if quick else 4)
    notes += six(images, seeds=1 if quick else 3)
    missed = [one["what"] for one in rows if is_missed(one)]
    result = {
        "benchmark": "contribution",
        "what": "cosine distance to exact Shapley values, and AUC of good against bad clients",
        "rows": rows,
        "data": source.description,
        "missed": missed,
        "ok": not missed,
        "notes": [*notes, *(f"Missed: {what}" for what in missed)],
    }
    report(result, chosen.json, COLUMNS)
    sys.exit(0 if result["ok"] else 1)


def sixteen(images: Images, seeds: int, rounds: int) -> list[dict[str, Any]]:
    """All 65,536 coalitions of the last round of each federation."""
    found = []
    for seed in range(seeds):
        federation = Federation(Exercise(mlp, 16, SIXTEEN, 0.5, seed), images)
        played = list(federation.rounds(rounds))[-1]
        table = timed(f"exact, n=16, seed {seed}", lambda f=federation, p=played: mlp_table(f, p))
        found.append(Tables(16, [table]))
    return nearness(found, "Dirichlet 0.5", repeats=10)


def six(images: Images, seeds: int) -> list[str]:
    """How soon noise and replay are found among six."""
    found = []
    for seed in range(seeds):
        federation = Federation(Exercise(cnn, 6, SIX, 0.5, seed), images)
        judged = timed(f"six devices, seed {seed}", lambda f=federation: judge(f, 6))
        found.append({judged.roles.get(i, "honest"): r for i, r in judged.found_in.items()})
    return [f"Six devices, Dirichlet 0.5: the round of the first confirmed finding: {found}."]


def is_missed(one: dict[str, Any]) -> bool:
    """Whether a row has something to keep, and the mean does not."""
    if one["must"] is None:
        return False
    reached = one["mean"] >= one["must"] if "AUC" in one["what"] else one["mean"] <= one["must"]
    return not reached


def timed(what: str, work: Callable[[], Any]) -> Any:
    """Do it, and say how long it took."""
    began = time.monotonic()
    result = work()
    say(f"{what}: {time.monotonic() - began:.0f} s")
    return result


if __name__ == "__main__":
    main()
