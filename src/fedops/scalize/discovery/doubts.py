"""What looks like a step and is none: helpers, losses, abstract bases, inner parts."""

from __future__ import annotations

import ast
import re

from fedops.scalize.discovery.source.definitions import Class
from fedops.scalize.discovery.source.survey import Survey

#: Ends of names of functions that help to get at data, and give none.
_HELPERS = re.compile(
    r"(^|_)(batch(es)?|devices?|transforms?|augment\w*|collate(_fn)?|optimi[sz]ers?|criterion|loss(es)?|"
    r"schedulers?|args|arguments|config|cfg|logger|logging|seeds?|path|paths|dir|dirs|folder|vocab\w*|"
    r"tokenizer|metrics?|parser|environment|env|checkpoint|weights|params|"
    r"parameters|callbacks?|masks?|mean|std|stats|statistics|sizes?|shapes?|len(gth)?s?|class(es)?|names?|"
    r"info|ind(ex|ices)|time|lr|rate|score|version|summary|figure|plots?)$"
)
_LOSS = re.compile(r"(Loss|Criterion|Metric|Penalty|Scheduler|Optimizer|Transform|Augment\w*)$")
_INNER = re.compile(
    r"(Block|Layer|Head|Attention|Bottleneck|Embeddings?|Norm|Stem|Conv(\dd|Block|Layer)?|Unit|Module|"
    r"Branch|Cell|Pool(ing)?|Activation|Dropout|FeedForward|Reshape|Flatten|Identity)$"
)


def is_private(name: str) -> bool:
    return name.startswith("_")


def is_helper(name: str) -> bool:
    """Whether a function of this name prepares something else than data."""
    return bool(_HELPERS.search(name.lower()))


def is_inner(cls: Class) -> bool:
    """Whether a class is called like a part of a model."""
    return bool(_INNER.search(cls.name))


def is_no_model(cls: Class, abstract: set[str]) -> bool:
    return cls.target in abstract or bool(_LOSS.search(cls.name))


def abstract_classes(seen: Survey) -> set[str]:
    """Classes that only others derive from: they say so, or leave a method to their children."""
    parents = {base for cls in seen.classes for base in cls.bases}
    found = {
        cls.target
        for cls in seen.classes
        if cls.target in parents and not seen.calls_of(cls.target)
    }
    for source in seen.sources:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and _leaves_something(node):
                found.add(f"{source.names.module}.{node.name}")
    return found


def _leaves_something(node: ast.ClassDef) -> bool:
    if any(ast.unparse(base).endswith("ABC") for base in node.bases):
        return True
    return any(
        isinstance(item, ast.FunctionDef) and (_is_abstract(item) or _refuses(item))
        for item in node.body
    )


def _is_abstract(item: ast.FunctionDef) -> bool:
    return any(ast.unparse(d).endswith("abstractmethod") for d in item.decorator_list)


def _refuses(item: ast.FunctionDef) -> bool:
    last = item.body[-1]
    called = item.name in {"forward", "call", "__call__"}
    raised = last.exc if isinstance(last, ast.Raise) and len(item.body) <= 2 else None
    return called and raised is not None and "NotImplementedError" in ast.unparse(raised)


def handed_on(seen: Survey) -> set[str]:
    """Classes that are passed to a call as they are, as ``ResNet(BasicBlock, ...)`` passes its block."""
    found = set()
    targets = {cls.target for cls in seen.classes}
    for source in seen.sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call):
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
                names = {seen.real_name(source.names.dotted(arg)) for arg in given}
                found |= names & targets
    return {target for target in found if not seen.calls_of(target)}
