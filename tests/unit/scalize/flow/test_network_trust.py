"""What a config from the network may name."""

from __future__ import annotations

import pytest

from fedops.core.errors import Forbidden
from fedops.scalize.flow.network_config import Trust
from fedops.scalize.flow.network_names import NETWORK_NAMES

SERVER = Trust(False)


@pytest.mark.parametrize("target", sorted(NETWORK_NAMES)[::40])
def test_a_listed_name_may_be_named(target: str) -> None:
    SERVER.check(target, "model")


@pytest.mark.parametrize(
    "target",
    [
        "builtins.exec",
        "fedops.algorithms.partition",
        "fedops.algorithms.partition.partition.__globals__",
        "fedops.scalize.flow.target_import.resolve",
        "keras.layers.Lambda",
        "keras.layers.TFSMLayer",
        "keras.models.load_model",
        "keras.saving.load_model",
        "keras.utils.get_file",
        "os.system",
        "sklearn.datasets.fetch_openml",
        "sklearn.pipeline.Pipeline",
        "torch.hub.load",
        "torch.nn.functional.torch.hub.load",
        "torch.nn.modules.linear.Linear",
        "torch.optim.lr_scheduler.LambdaLR",
    ],
)
def test_no_other_name_of_a_listed_package_may(target: str) -> None:
    with pytest.raises(Forbidden, match="may not be named by a config from the server"):
        SERVER.check(target, "model")
