"""Overrides that would do nothing where they are given are refused, with who decides."""

import pytest

from fedops.config.overrides import refuse_of_device, refuse_of_run
from fedops.core.errors import Invalid


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("wandb.use=true", "'wandb.use' does nothing here: each device reports"),
        ("wandb={use = true}", "'wandb' does nothing here"),
        ("server.url=http://x", "'server.url' does nothing here: a device knows its server"),
        (
            "dataset.root=/data",
            "'dataset.root' does nothing here: each device knows where its data",
        ),
        ("dataset={root = '/data'}", "'dataset.root' does nothing here"),
        ("xai.output_dir=x", "'xai.output_dir' does nothing here"),
        ("script.command=['sh']", "'script.command' does nothing here: only the app's own files"),
        ("data.path=x.csv", "'data.path' may name a file or a URL, and only the app's own files"),
        ("model={weights = 'hub/x'}", "'model.weights' may name a file or a URL"),
        (" task_id = other", "'task_id' does nothing here: the task is the one that you name"),
    ],
)
def test_a_run_is_not_told_what_its_devices_decide(override: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        refuse_of_device(["num_rounds=3", override])


def test_what_a_run_decides_is_its_own() -> None:
    own = ["num_rounds=3", "server.round.min_replies=2", "model.name=a b", "wandbx=1"]
    refuse_of_device(own)
    with pytest.raises(Invalid, match=r"'wandb\.use'"):  # only what is the device's
        refuse_of_device([*own, "wandb.use=true"])


@pytest.mark.parametrize(
    "override", ["num_rounds=4", "model.output_size=3", "server.strategy.eta=1", "server.round={}"]
)
def test_a_device_is_not_told_what_the_run_decides(override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(Invalid, match=f"'{key}' does nothing on a device: .*--set {key}=") as error:
        refuse_of_run(["dataset.root=/data", override])
    assert "may override 'dataset', 'resources', 'script.examples'" in str(error.value)


def test_what_a_device_decides_is_its_own() -> None:
    own = ["dataset.partition.index=1", "xai.enabled=false", "wandb.use=true", "task_id=x"]
    refuse_of_run(own)
    with pytest.raises(Invalid, match="'num_rounds' does nothing"):  # only what is the run's
        refuse_of_run([*own, "num_rounds=4"])
