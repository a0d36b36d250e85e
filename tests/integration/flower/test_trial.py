"""The small federation of ``fedops ci``: real rounds over parts of an app's data, and what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message
from tiny_app import CONFIG, PARTS, PYPROJECT, write_app

from fedops.flower import client_app
from fedops.flower.codec.messages import PACKED, packed_pieces
from fedops.flower.trial.trial_clients import PartOfProject, TrialNode
from fedops.flower.trial.trial_federation import Trial
from fedops.flower.trial.trial_report import TrialQuestion, TrialReport
from fedops.storage.tensors import Tensors, unpack

pytest.importorskip("sklearn", reason="the app here uses scikit-learn")


@pytest.fixture(autouse=True)
def _answers_as_before() -> Iterator[None]:
    kept = list(client_app._here)
    yield
    client_app._here[:] = kept


class Noted(TrialNode):
    """A node, and what it sent and was shown."""

    sent: list[tuple[int, Tensors]]
    shown: Tensors

    def __call__(self, message: Message) -> Message:
        reply = super().__call__(message)
        examples = dict(reply.content.metric_records.get("metrics", {})).get("num-examples", 0)
        if PACKED in reply.content.array_records:
            self.sent.append((examples, unpack(b"".join(packed_pieces(reply.content)))))
        return reply

    def judge(self, model: Tensors, seed: int) -> tuple[int, dict[str, float]]:
        self.shown = model
        return super().judge(model, seed)


class NotingTrial(Trial):
    """A trial whose clients note everything."""

    def _node(self, index: int, clients: int, overrides: list[str]) -> TrialNode:
        made = super()._node(index, clients, overrides)
        node = Noted(made.project, index, clients)
        node.sent = []
        self.nodes = [*getattr(self, "nodes", []), node]
        return node


def played(app: Path, **asked: Any) -> TrialReport:
    return Trial(TrialQuestion(app_dir=str(app), rounds=1, **asked)).run()


def app_with(folder: Path, old: str = "", new: str = "", config: str = "") -> Path:
    app = write_app(folder / "app")
    assert old in PARTS
    (app / "tiny" / "parts.py").write_text(PARTS.replace(old, new, 1) if old else PARTS)
    (app / "tiny" / "config.toml").write_text(CONFIG + config)
    (app / "tiny" / "app.py").write_text(
        "from flwr.clientapp import ClientApp\nclient = ClientApp()\n"
    )
    return app


def test_the_model_is_the_weighted_mean_of_what_two_clients_made_of_their_parts(
    tmp_path: Path,
) -> None:
    trial = NotingTrial(TrialQuestion(app_dir=str(app_with(tmp_path)), rounds=1, examples=13))
    report = trial.run()
    assert (report.problems, report.clients, report.strategy) == ([], 2, "FedAvg")
    one, two = trial.nodes
    ((n1, first),), ((n2, second),) = one.sent, two.sent
    assert (n1, n2) == (13, 13)
    assert any(not np.array_equal(first[name], second[name]) for name in first)
    for name, made in one.shown.items():
        if name in first:
            assert np.allclose(made, (n1 * first[name] + n2 * second[name]) / (n1 + n2))
    assert [client.client for client in report.rounds[0].clients] == ["client-0", "client-1"]
    assert {client.examples for client in report.final} == {8}
    assert "loss" in report.metrics


def test_no_example_is_in_two_parts_and_the_same_trial_gives_the_same_model(tmp_path: Path) -> None:
    app = app_with(tmp_path)
    parts = [PartOfProject.of_client(app, i, 2, [], 0).load_data().train[0] for i in (0, 1)]
    rows = [tuple(row) for part in parts for row in np.asarray(part).tolist()]
    assert len(rows) == len(set(rows)) == 32
    assert played(app).rounds[0].model == played(app).rounds[0].model


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("return x,", "return x * float('nan'),", "NaN"),
        ("return SGDClassifier()", "return undefined", "name 'undefined' is not defined"),
    ],
)
def test_what_goes_wrong_is_a_problem(old: str, new: str, words: str, tmp_path: Path) -> None:
    report = played(app_with(tmp_path, old, new))
    assert not report.ok
    assert words in report.problems[0]


MANY = '[server.strategy]\n_target_ = "FedAvg"\nmin_available_nodes = 3\n'


def test_a_strategy_that_needs_more_clients_gets_them_or_says_so(tmp_path: Path) -> None:
    app = app_with(tmp_path, config=MANY)
    report = played(app)
    assert report.ok
    assert report.clients == 3
    assert "since FedAvg needs so many" in report.notes[0]
    assert "take --clients 3" in played(app, clients=2).problems[0]


OWN = """
from flwr.app import Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

server, client = ServerApp(), ClientApp()

@client.query()
def query(message, context):
    {answer}
    return Message(RecordDict(), reply_to=message)

@server.main()
def main(grid, context):
    asked = [Message(RecordDict(), node, "query") for node in grid.get_node_ids()]
    assert len(list(grid.send_and_receive(asked))) == 2
"""


@pytest.mark.parametrize(
    ("answer", "problems"),
    [
        ("assert context.node_config['num-partitions'] == 2", []),
        ("raise ValueError('no such thing')", ["client-0: ValueError: no such thing"]),
    ],
)
def test_an_app_with_its_own_rounds_plays_them(
    answer: str, problems: list[str], tmp_path: Path
) -> None:
    app = app_with(tmp_path)
    own = PYPROJECT.replace('package = "tiny"', 'package = "tiny"\nserverapp = "own"')
    (app / "pyproject.toml").write_text(own)
    (app / "tiny" / "app.py").write_text(OWN.format(answer=answer))
    report = played(app)
    assert report.problems == problems
    assert report.strategy == "the app's own ServerApp"
