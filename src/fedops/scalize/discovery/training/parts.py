"""What belongs to a training beside its loop: schedulers, clipping, weights of classes, callbacks."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from fedops.scalize.discovery.training.findings import Finding
from fedops.scalize.discovery.training.loops import called, calls_in, penalties_in, receiver
from fedops.scalize.discovery.training.scopes import Scope

#: Dotted name or last part of what is called -> kind, words.
_CALLS = (
    (
        re.compile(
            r"torch\.optim\.lr_scheduler\.[A-Z]\w*|(\w+\.)*get_(\w+_)?schedule(r)?(_\w+)?|"
            r"(\w+\.)*(keras\.)?optimizers\.schedules\.\w+|(\w+\.)*LearningRateScheduler|"
            r"(\w+\.)*(Reduce|Warmup|Cosine|OneCycle|Step|Exponential)\w*(LR\w*|Schedule(r)?)"
        ),
        "scheduler",
        "the scheduler {} is not used: the learning rate stays as it is",
    ),
    (re.compile(r"(\w+\.)*clip_grad_(norm|value)_?|(\w+\.)*clip_gradients?\w*"),
     "clipping", "gradients are clipped here ({}), and will not be"),
    (re.compile(r"(\w+\.)*(AveragedModel|ExponentialMovingAverage|ModelEma\w*|EMA|SWALR)"),
     "ema", "averaged weights ({}) are not kept"),
    (re.compile(r"(\w+\.)*(GradScaler|autocast)"), "precision", "mixed precision ({}) is not used"),
    (re.compile(r"(\w+\.)*(EarlyStopping|ModelCheckpoint)"),
     "callbacks", "the callback {} is not used"),
    (re.compile(r"(\w+\.)*WeightedRandomSampler"),
     "sampler", "examples are not drawn by {}"),
)  # fmt: skip
#: Keyword of any call -> kind, words.
_KEYWORDS = {
    "gradient_clip_val": ("clipping", "gradients are not clipped"),
    "max_grad_norm": ("clipping", "gradients are not clipped"),
    "clipnorm": ("clipping", "gradients are not clipped"),
    "clipvalue": ("clipping", "gradients are not clipped"),
    "global_clipnorm": ("clipping", "gradients are not clipped"),
    "class_weight": ("class_weights", "classes are not weighted"),
    "sample_weight": ("class_weights", "examples are not weighted"),
    "pos_weight": ("class_weights", "classes are not weighted"),
    "label_smoothing": ("label_smoothing", "labels are not smoothed"),
    "label_smoothing_factor": ("label_smoothing", "labels are not smoothed"),
    "callbacks": ("callbacks", "callbacks are not used"),
    "accumulate_grad_batches": ("accumulation", "gradients are not accumulated"),
    "gradient_accumulation_steps": ("accumulation", "gradients are not accumulated"),
    "limit_train_batches": ("limit", "training is not cut short"),
    "max_steps": ("limit", "training is not cut short"),
    "precision": ("precision", "mixed precision is not used"),
    "fp16": ("precision", "mixed precision is not used"),
    "bf16": ("precision", "mixed precision is not used"),
    "lr_scheduler_type": ("scheduler", "the learning rate stays as it is"),
    "warmup_steps": ("scheduler", "the learning rate stays as it is"),
    "warmup_ratio": ("scheduler", "the learning rate stays as it is"),
    "use_ema": ("ema", "averaged weights are not kept"),
}
#: Keywords of ``fit`` that change what is learnt.
_FIT = ("validation_split", "shuffle", "steps_per_epoch", "initial_epoch", "coef_init", "classes")
#: Keywords of a loader that change what a batch is.
_LOADER = ("sampler", "batch_sampler", "collate_fn", "drop_last")
_LOADERS = re.compile(r"torch\.utils\.data\.(dataloader\.)?DataLoader")
LOSS = re.compile(r"torch\.nn\.\w+Loss|torch\.nn\.functional\.(\w+_loss|\w*cross_entropy\w*)")
_MODELS = re.compile(
    r"(.*_)?(model|net|network|module|backbone|encoder|generator|discriminator)\w*"
)
#: Values that change nothing.
_USUAL = ("None", "False", "0", "1", "-1", "0.0", "'32-true'")
#: Classes whose methods of these names are what a library's loop calls.
_LIBRARY_LOOP = {
    "training_step": "what a batch costs",
    "configure_optimizers": "the optimizers and schedulers",
    "train_step": "what a batch does",
    "compute_loss": "the loss",
    "train_dataloader": "the training data",
    "optimizer_step": "how the optimizer steps",
}


def parts_of(scope: Scope, read: frozenset[int] = frozenset()) -> Iterator[Finding]:
    """Everything in a scope that a training would do or be set to, as what is left out of it.

    ``read``: the ids of the expressions that were read off and are used.
    """
    for call in calls_in(scope):
        yield from _of_call(scope, call, read)
    for node in penalties_in(scope):
        text = f"the loss is a sum here ({_short(node)}), and what is added is left out"
        yield Finding(kind="penalty", text=text, where=scope.place(node))
    for node in scope.nodes:
        if _freezes(node):
            text = f"layers are frozen here ({_short(node)}), and will be trained"
            yield Finding(kind="frozen", text=text, where=scope.place(node))


def library_loop(scope: Scope) -> Finding | None:
    """A method that only a library's own loop calls."""
    words = _LIBRARY_LOOP.get(scope.method)
    if not words:
        return None
    text = f"{scope.words} is not used: it says {words}"
    return Finding(kind=scope.method, text=text, where=f"{scope.source.path}:{scope.line}")


def _of_call(scope: Scope, call: ast.Call, read: frozenset[int]) -> Iterator[Finding]:
    name = scope.source.names.dotted(call.func) or called(call)
    for pattern, kind, words in _CALLS:
        if pattern.fullmatch(name):
            text = words.format(name.split(".")[-1])
            yield Finding(kind=kind, text=text, where=scope.place(call))
            break
    for keyword in call.keywords:
        if id(keyword.value) in read:
            continue
        if found := _of_keyword(name, call, keyword):
            kind, text = found
            text = f"{text}: {keyword.arg}={_short(keyword.value)} of {name.split('.')[-1]}"
            yield Finding(kind=kind, text=text, where=scope.place(keyword.value))
    if called(call) in {"load_state_dict", "load_weights"} and _of_a_model(call):
        text = f"weights are loaded here ({_short(call)}); the federated model begins without them"
        yield Finding(kind="weights", text=text, where=scope.place(call))
    if called(call) == "apply" and _of_a_model(call) and len(call.args) == 1:
        text = f"weights are drawn anew here ({_short(call)}), and will not be"
        yield Finding(kind="weights", text=text, where=scope.place(call))
    if called(call) == "compile" and _of_a_model(call) and call.keywords:
        text = f"what the model is compiled with here is not used ({_short(call)})"
        yield Finding(kind="compile", text=text, where=scope.place(call))


def _of_keyword(name: str, call: ast.Call, keyword: ast.keyword) -> tuple[str, str] | None:
    word = keyword.arg or ""
    usual = ("None", "True") if word == "shuffle" else _USUAL
    if ast.unparse(keyword.value) in usual:
        return None
    if word in _KEYWORDS and not name.endswith("add_argument"):
        return _KEYWORDS[word]
    if word == "weight" and LOSS.fullmatch(name):
        return "class_weights", "classes are not weighted"
    if word in _LOADER and _LOADERS.fullmatch(name):
        return "loader", "the training loader is made otherwise"
    if word in _FIT and called(call) in {"fit", "partial_fit"}:
        return "fit_argument", "an argument of fit is not used"
    return None


def _of_a_model(call: ast.Call) -> bool:
    return bool(_MODELS.fullmatch(receiver(call).lower()))


def _freezes(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        names = {t.attr for t in node.targets if isinstance(t, ast.Attribute)}
        return node.value.value is False and bool(names & {"requires_grad", "trainable"})
    if isinstance(node, ast.Call) and called(node) == "requires_grad_" and node.args:
        return isinstance(node.args[0], ast.Constant) and node.args[0].value is False
    return False


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else text[:57] + "..."
