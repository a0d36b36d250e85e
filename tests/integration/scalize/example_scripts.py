"""What the examples' own scripts learn, and what one federated round with one client learns: as arrays.

``python example_scripts.py script|federated EXAMPLE_DIR SEED OUT.safetensors``, in a process of its own.
"""

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "torch")

#: Example -> its script, and how the saved model is told where to go.
SCRIPTS = {
    "pytorch-digits": ("train.py", ["--seed", "{seed}", "--output", "out.pt"]),
    "keras-wine": ("wine.py", ["--seed", "{seed}", "--output", "out.weights.h5"]),
    "sklearn-cancer": ("cancer.py", ["--output", "out.joblib"]),
    "lora-reviews": ("finetune.py", ["--seed", "{seed}", "--output", "out"]),
}


def by_script(example: Path, seed: int) -> dict[str, Any]:
    script, arguments = SCRIPTS[example.name]
    os.chdir(example)
    sys.path.insert(0, str(example))
    sys.argv = [script, *(argument.format(seed=seed) for argument in arguments)]
    runpy.run_path(script, run_name="__main__")
    return globals()[f"_read_{example.name.split('-')[0]}"](example)


def _read_pytorch(example: Path) -> dict[str, Any]:
    import torch

    state = torch.load(example / "out.pt", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}


def _read_keras(example: Path) -> dict[str, Any]:
    import wine

    from fedops.scalize.frameworks.keras import named_variables, to_numpy

    model = wine.build_model()
    model.load_weights(example / "out.weights.h5")
    return {name: to_numpy(variable) for name, variable in named_variables(model).items()}


def _read_sklearn(example: Path) -> dict[str, Any]:
    import joblib

    from fedops.scalize.frameworks.sklearn_estimators import parts_of

    parts = parts_of(joblib.load(example / "out.joblib"), None)
    return {f"{part.prefix}{n}": array for part in parts for n, array in part.read().items()}


def _read_lora(example: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    saved = load_file(example / "out" / "adapter_model.safetensors")
    # PEFT leaves out the adapter's name when it saves.
    for short, whole in (
        (".lora_A.", ".lora_A.default."),
        (".lora_B.", ".lora_B.default."),
        ("model.classifier.", "model.classifier.modules_to_save.default."),
    ):
        saved = {name.replace(short, whole): array for name, array in saved.items()}
    return saved


def by_federation(example: Path, seed: int) -> dict[str, Any]:
    """V0 from the server, one client, one round, the mean of one: what the server has then."""
    from fedops.algorithms.aggregation import weighted_mean
    from fedops.scalize.adapter.protocol import TrainContext
    from fedops.scalize.check.check_process import federated
    from fedops.scalize.flow.project import Project
    from fedops.storage.tensors import pack, unpack

    project = Project.open(example / "federated")
    server, client = project.make_adapter(seed), project.make_adapter(seed)
    client.set_tensors(unpack(pack(federated(server))))
    config = project.config
    context = TrainContext(
        1, seed, config.num_epochs, config.batch_size, config.learning_rate, settings={}
    )
    result = client.train(project.load_data().train, context)
    update = unpack(pack(federated(client)))
    server.set_tensors(weighted_mean([update], [result.examples], list(update)))
    return federated(server)


def main(what: str, example: str, seed: str, out: str) -> None:
    from safetensors.numpy import save_file

    learn = by_script if what == "script" else by_federation
    arrays = learn(Path(example), int(seed))
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, out)
    print(json.dumps(sorted(arrays)))


if __name__ == "__main__":
    main(*sys.argv[1:])
