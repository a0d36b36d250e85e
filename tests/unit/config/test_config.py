"""The typed config.toml: the seed document's file, overrides, and what is said about mistakes."""

from __future__ import annotations

import json
import tomllib

import pytest

from fedops.config.loading import parse_config, to_plain
from fedops.config.overrides import apply_overrides
from fedops.config.schema import Config
from fedops.core.errors import Invalid

DOCUMENT = """
random_seed = 42
learning_rate = 0.001
model_type = "Pytorch"
task_id = "task_id"
num_epochs = 1
batch_size = 128
num_rounds = 2
clients_per_round = 1

[model]
_target_ = "fedopsmnist.models.MNISTClassifier"
output_size = 10

[dataset]
name = "MNIST"
validation_split = 0.2

[xai]
enabled = true
run_location = "client"
target_layer_index = -1
output_dir = "outputs/gradcam"
layer = "conv2"

[wandb]
use = false
key = "your wandb api key"
account = "your wandb account"
project = "MNIST_task_id"

[server.strategy]
_target_ = "flwr.server.strategy.FedAvg"
fraction_fit = 0.00001
fraction_evaluate = 0.000001
min_fit_clients = 1
min_available_clients = 1
min_evaluate_clients = 1
"""


@pytest.fixture
def config() -> Config:
    return parse_config(tomllib.loads(DOCUMENT), "config.toml")


def refusal(config: Config, *overrides: str) -> str:
    with pytest.raises(Invalid) as caught:
        apply_overrides(config, overrides)
    return str(caught.value)


def test_every_value_of_the_document_arrives(config: Config) -> None:
    assert (config.random_seed, config.learning_rate, config.num_epochs) == (42, 0.001, 1)
    assert (config.batch_size, config.num_rounds, config.clients_per_round) == (128, 2, 1)
    assert (config.model_type, config.framework, config.task_id) == (
        "Pytorch",
        "pytorch",
        "task_id",
    )
    assert config.model.target == "fedopsmnist.models.MNISTClassifier"
    assert config.model.kwargs == {"output_size": 10}
    assert (config.dataset.name, config.dataset.validation_split) == ("MNIST", 0.2)
    assert (config.xai.enabled, config.xai.run_location, config.xai.layer) == (
        True,
        "client",
        "conv2",
    )
    assert (config.xai.target_layer_index, config.xai.output_dir) == (-1, "outputs/gradcam")
    assert (config.wandb.use, config.wandb.account) == (False, "your wandb account")
    assert (config.wandb.key, config.wandb.project) == ("your wandb api key", "MNIST_task_id")
    assert config.server.strategy.target == "flwr.server.strategy.FedAvg"
    assert config.server.strategy.kwargs == {
        "fraction_fit": 0.00001,
        "fraction_evaluate": 0.000001,
        "min_fit_clients": 1,
        "min_available_clients": 1,
        "min_evaluate_clients": 1,
    }


def test_an_empty_config_has_defaults() -> None:
    config = parse_config({}, "x")
    assert config.clients_per_round is None
    assert config.server.strategy.target == "flwr.serverapp.strategy.FedAvg"
    assert config.framework is None
    assert (config.server.selection.selector, config.server.selection.options) == ("random", {})
    assert not config.xai.enabled


def test_plain_values_are_json_and_come_back_equal(config: Config) -> None:
    plain = json.loads(json.dumps(to_plain(config)))
    again = parse_config(plain, "x")
    assert again.model_copy(update={"wandb": config.wandb}) == config


def test_the_wandb_key_is_never_shown(config: Config) -> None:
    assert to_plain(config)["wandb"]["key"] == "***"
    assert "your wandb api key" not in json.dumps(to_plain(config)) + repr(config) + str(config)
    assert "hunter2" not in refusal(config, "wandb.key=['hunter2']")


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("num_rounds=5", lambda c: c.num_rounds == 5),
        ("server.round.deadline_seconds=30", lambda c: c.server.round.deadline_seconds == 30.0),
        ("dataset.fallback=digits", lambda c: c.dataset.fallback == "digits"),
        ("dataset.root=/some/where else", lambda c: c.dataset.root == "/some/where else"),
        ('exchange.local=["head.*"]', lambda c: c.exchange.local == ["head.*"]),
        ("xai.enabled = false", lambda c: c.xai.enabled is False),
        ("model.output_size=20", lambda c: c.model.kwargs == {"output_size": 20}),
        ("optimizer=sgd", lambda c: c.optimizer.target == "sgd"),
        ("train._target_=my.train", lambda c: c.train.target == "my.train"),
        ("clients_per_round=", lambda c: c.clients_per_round is None),
        ("server.selection.selector=oort", lambda c: c.server.selection.selector == "oort"),
        ("server.selection.tiers=3", lambda c: c.server.selection.options == {"tiers": 3}),
        ("server.strategy.name=a=b", lambda c: c.server.strategy.kwargs["name"] == "a=b"),
        ("model.note=1\nbatch_size=3", lambda c: c.batch_size == 128),
    ],
)
def test_overrides(config: Config, override: str, read) -> None:
    assert read(apply_overrides(config, [override]))


def test_overrides_are_checked_together_and_leave_the_original(config: Config) -> None:
    two = apply_overrides(config, ["dataset.partition.index=2", "dataset.partition.of=3"])
    assert two.dataset.partition is not None
    assert (two.dataset.partition.index, two.dataset.partition.of) == (2, 3)
    assert config.dataset.partition is None
    assert two.partition_seed == 42
    assert apply_overrides(two, ["dataset.partition.seed=0"]).partition_seed == 0


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("num_round=1", ["num_round: unknown key", "did you mean 'num_rounds'?", "'batch_size'"]),
        ("dataset.alpha=1", ["did you mean 'dataset.partition.alpha'?", "[dataset]", "'root'"]),
        ("server.round.deadline=9", ["server.round.deadline: unknown", "'deadline_seconds'?"]),
        ("batch_size=0", ["batch_size = 0: must be greater than or equal to 1"]),
        ("batch_size=2.5", ["batch_size = 2.5: must be a whole number"]),
        ("batch_size=true", ["batch_size = true: must be a whole number"]),
        ("learning_rate=inf", ["learning_rate = inf: must be a finite number"]),
        ("model.width=nan", ["model.width: must be a finite number"]),
        ("xai.run_location=server", ["xai.run_location", "must be 'client'"]),
        ("xai.when=beforee", ["'every_round'", "did you mean 'before'?"]),
        ("model_type=Pytroch", ["'keras'", "did you mean 'pytorch'?"]),
        ("dataset.validation_split=1.0", ["must be less than 1"]),
        ("dataset.partition={index=3, of=3}", ["index = 3 must be less than of = 3"]),
        ("task_id=../up", ["letters, digits"]),
        ("xai.enabled=1", ["xai.enabled = 1: must be true or false"]),
        ("xai=3", ["xai = 3: must be a table"]),
        ("exchange.local=head", ["must be a list"]),
        ("num_rounds.x=1", ["'num_rounds', which is a value"]),
        ("num_rounds", ["must read key=value"]),
        (".=1", ["must read key=value"]),
    ],
)
def test_what_is_said_about_a_mistake(config: Config, override: str, said: list[str]) -> None:
    message = refusal(config, override)
    for words in said:
        assert words in message


def test_all_mistakes_are_named_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        parse_config({"num_round": 1, "batch_size": "x", "dataset": {"nam": 1}}, "conf/config.toml")
    message = str(caught.value)
    assert message.startswith("mistakes in conf/config.toml:")
    assert all(key in message for key in ("num_round:", 'batch_size = "x"', "dataset.nam:"))


@pytest.mark.parametrize(
    ("spelling", "framework"),
    [
        ("Pytorch", "pytorch"),
        ("PYTORCH", "pytorch"),
        ("Tensorflow", "keras"),
        ("Keras", "keras"),
        ("scikit-learn", "sklearn"),
        ("Huggingface", "huggingface"),
    ],
)
def test_model_type_in_any_spelling(spelling: str, framework: str) -> None:
    assert parse_config({"model_type": spelling}, "x").framework == framework


def test_a_key_of_before_is_taken_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    for seconds in (3_600, 3_600.0):
        found = parse_config({"server": {"round": {"queue_seconds": seconds}}}, "x")
        assert found == Config()
    assert [record.message for record in caplog.records] == [
        "server.round.queue_seconds means nothing any more: runs share devices; remove it"
    ]
    caplog.clear()
    assert parse_config({"server": {"round": {"queue_seconds": 86_400.0}}}, "x") == Config()
    assert not caplog.records  # a config that was stored with its defaults
