"""Which libraries' classes and functions make a model, by their dotted names."""

from __future__ import annotations

import re

_KERAS = ("keras.Model", "keras.Sequential", "keras.models.Model", "keras.models.Sequential")
#: ``BertModel``, ``BertForSequenceClassification``, ``AutoModelForCausalLM.from_pretrained``
_TRANSFORMER = re.compile(r"transformers\.(\w+\.)*(?!DataCollator)\w*(Model|For[A-Z])")
_ESTIMATORS = ("linear_model", "naive_bayes", "neural_network", "svm", "pipeline")
_LIBRARIES = (
    ("pytorch", re.compile(r"torchvision\.models\.(\w+\.)*\w+")),
    ("pytorch", re.compile(r"timm\.(create_model|models\.(\w+\.)*\w+)")),
    ("pytorch", re.compile(r"monai\.networks\.nets\.(\w+\.)*\w+")),
    (
        "pytorch",
        re.compile(r"segmentation_models_pytorch\.(?!losses|metrics|utils|encoders)(\w+\.)*\w+"),
    ),
    ("pytorch", re.compile(r"torch\.hub\.load")),
    ("pytorch", re.compile(r"torch\.nn\.[A-Z]\w+")),
    ("pytorch", re.compile(r"(efficientnet_pytorch|vit_pytorch|pretrainedmodels)\.(\w+\.)*\w+")),
    ("pytorch", re.compile(r"(torchaudio|torchtext)\.models\.\w+")),
    ("pytorch", re.compile(r"torch_geometric\.nn\.models\.\w+")),
    ("pytorch", re.compile(r"diffusers\.\w*Model\w*(\.\w+)?")),
    ("pytorch", re.compile(r"sentence_transformers\.SentenceTransformer")),
    ("keras", re.compile(r"((tensorflow|tf)\.)?keras\.applications\.(\w+\.)*[A-Z]\w+")),
    ("keras", re.compile(r"((tensorflow|tf)\.)?keras\.(models|saving)\.(load|clone)_model")),
    ("keras", re.compile(r"keras_(cv|hub|nlp)\.models\.(\w+\.)*\w+")),
)
_NOT_MADE = re.compile(
    r"\w*(Config|Tokenizer|Weights|Loss|Processor|Extractor|Parameter)$|get_\w+_weights?"
)
#: What has no tensors of one shape, so that no mean of two can be taken.
_NOT_AVERAGED = (
    (re.compile(r"xgboost\.|lightgbm\.|catboost\."), "boosted trees"),
    (re.compile(r"sklearn\.(ensemble|tree)\."), "trees"),
    (re.compile(r"sklearn\.gaussian_process\.|gpytorch\."), "a Gaussian process"),
    (re.compile(r"sklearn\.(neighbors|cluster)\."), "what keeps its examples"),
)


def framework_of(made: str) -> str:
    """The framework of a constructor by its dotted name; '' when it makes no model that is known."""
    last = made.rpartition(".")[2]
    if not made or _NOT_MADE.fullmatch(last):
        return ""
    if made.split(".")[0] == "peft" or _TRANSFORMER.match(made):
        return "huggingface"
    if made.removeprefix("tensorflow.").removeprefix("tf.") in _KERAS:
        return "keras"
    parts = made.split(".")
    if parts[0] == "sklearn" and len(parts) > 2 and parts[1] in _ESTIMATORS:
        return "sklearn"
    return next((name for name, pattern in _LIBRARIES if pattern.fullmatch(made)), "")


def why_not_averaged(made: str) -> str:
    """The sentence that refuses what this makes; '' for all else."""
    kind = next((words for pattern, words in _NOT_AVERAGED if pattern.match(made)), "")
    if not kind:
        return ""
    return (
        f"{made} makes {kind}: devices would learn things of different shapes, of which no mean can be "
        "taken; the nearest that works is a linear model or a network (sklearn.linear_model.SGDClassifier, "
        "sklearn.neural_network.MLPClassifier)"
    )
