"""What each step of a project may be given, and by which parameter names it asks for it: pure data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepArgument:
    """Something a step may ask for, by one of these parameter names (case and ``_`` aside)."""

    key: str
    words: str
    names: tuple[str, ...]
    #: Names of annotated types that mean it, when the parameter's own name says nothing.
    types: tuple[str, ...] = ()


_SPLITS = (
    "loader",
    "dataloader",
    "data",
    "dataset",
    "set",
    "dl",
    "ds",
    "iter",
    "iterator",
    "dataiter",
)


def _data_names(*prefixes: str) -> tuple[str, ...]:
    return tuple(prefix + end for prefix in prefixes for end in _SPLITS)


_CONFIG = StepArgument(
    "config", "the config", ("config", "cfg", "conf", "args", "settings", "hparams"), ("Config",)
)
_SEED = StepArgument("seed", "the seed", ("seed", "randomseed", "randomstate", "rngseed"))
_BATCH_SIZE = StepArgument("batch_size", "batch_size", ("batchsize", "bs", "minibatchsize"))
_NAME = StepArgument("dataset_name", "[dataset] name", ("datasetname", "name"))
_MODEL = StepArgument(
    "model",
    "the model",
    ("model", "net", "network", "module", "classifier", "regressor", "estimator", "clf"),
    ("Module", "Model", "Sequential", "BaseEstimator", "PreTrainedModel"),
)
_DEVICE = StepArgument("device", "the device", ("device", "dev"), ("device",))
_LOSS = StepArgument(
    "loss",
    "the loss",
    ("loss", "criterion", "lossfn", "lossfunction", "lossfunc", "losscriterion", "objective"),
    ("_Loss", "Loss"),
)
_CONTEXT = StepArgument("context", "the round's context", ("context", "ctx"), ("TrainContext",))
_ROUND = StepArgument("round", "the round", ("round", "serverround", "currentround", "rnd"))
_DATA_TYPES = ("DataLoader", "Dataset", "TensorDataset", "Subset", "Sequence")
_X = ("x", "features", "inputs")
_Y = ("y", "labels", "targets", "target")

_DATA_STEP = (
    StepArgument("dataset", "[dataset]", ("dataset", "datasetconfig", "dataconfig"), ("Dataset",)),
    _NAME,
    StepArgument("root", "[dataset] root", ("root", "dataroot", "datadir", "datapath", "rootdir")),
    StepArgument("partition", "[dataset.partition]", ("partition",), ("Partition",)),
    StepArgument(
        "partition_index",
        "dataset.partition.index",
        ("partitionid", "partitionindex", "clientid", "clientindex", "cid"),
    ),
    StepArgument(
        "partitions",
        "dataset.partition.of",
        ("partitions", "numpartitions", "numclients", "nclients", "parts"),
    ),
    StepArgument(
        "validation_split",
        "validation_split",
        ("validationsplit", "valsplit", "validationratio", "valratio", "valfraction"),
    ),
    _BATCH_SIZE,
    _SEED,
    _CONFIG,
)

#: Keys by one of which a train step gets the training data of the data step.
TRAINING_DATA = ("train_data", "loaders", "x", "y")

#: What each step may ask for. Where a name occurs twice, the first offer has it.
OFFERS: dict[str, tuple[StepArgument, ...]] = {
    "model": (_NAME, _SEED, _CONFIG),
    "data": _DATA_STEP,
    "validation": _DATA_STEP,
    "train": (
        _MODEL,
        StepArgument(
            "train_data",
            "the training data",
            (*_data_names("train", "training", ""), "batches", "train"),
            _DATA_TYPES,
        ),
        StepArgument(
            "validation_data",
            "the validation data",
            _data_names("val", "valid", "validation", "test", "eval"),
        ),
        StepArgument(
            "loaders",
            "training and validation data as {'train', 'val'}",
            ("loaders", "dataloaders"),
        ),
        StepArgument("x", "the training examples", ("xtrain", "trainx", *_X)),
        StepArgument("y", "the training labels", ("ytrain", "trainy", *_Y)),
        StepArgument(
            "epochs",
            "num_epochs",
            ("epochs", "numepochs", "nepochs", "maxepochs", "localepochs", "numlocalepochs"),
        ),
        StepArgument("epoch", "the number of the epoch", ("epoch", "epochindex", "epochnumber")),
        _BATCH_SIZE,
        StepArgument("learning_rate", "learning_rate", ("learningrate", "lr", "eta")),
        StepArgument(
            "optimizer", "the optimizer", ("optimizer", "optimiser", "optim", "opt"), ("Optimizer",)
        ),
        StepArgument(
            "scheduler",
            "a scheduler that leaves the learning rate as it is",
            ("scheduler", "lrscheduler", "sched"),
            ("LRScheduler",),
        ),
        _LOSS,
        _DEVICE,
        _SEED,
        _ROUND,
        StepArgument("proximal_mu", "FedProx's mu", ("proximalmu", "mu", "proxmu")),
        StepArgument(
            "should_stop", "a function that tells whether to stop", ("shouldstop", "isstopped")
        ),
        _CONTEXT,
        _CONFIG,
    ),
    "evaluate": (
        _MODEL,
        StepArgument(
            "data",
            "the evaluation data",
            _data_names("test", "testing", "val", "valid", "validation", "eval", "evaluation", ""),
            _DATA_TYPES,
        ),
        StepArgument("x", "the evaluation examples", ("xtest", "testx", "xval", *_X)),
        StepArgument("y", "the evaluation labels", ("ytest", "testy", "yval", *_Y)),
        _BATCH_SIZE,
        _LOSS,
        _DEVICE,
        _SEED,
        _ROUND,
        _CONTEXT,
        _CONFIG,
    ),
}
