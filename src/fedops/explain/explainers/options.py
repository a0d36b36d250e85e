"""What to explain, how, when and how long: ``[xai]`` of a config, and the device owner's bounds on it.

Imports no ML framework: a disabled section costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import Any

from fedops.core.errors import Invalid
from fedops.core.suggestions import comma_list, did_you_mean

CHOICES: dict[str, tuple[str, ...]] = {
    "run_location": ("client",),
    "when": ("before", "every_round", "every_n", "after"),
    "explain": ("predicted", "true", "both"),
    "models": ("global", "local", "both"),
    "upload": ("none", "scores", "images"),
}
_COUNTS = ("samples", "every_n", "keep_rounds")


@dataclass(frozen=True)
class Options:
    """The ``[xai]`` section as the explainer reads it."""

    enabled: bool = True
    run_location: str = "client"
    target_layer_index: int = -1
    #: A layer's name wins over the index; "auto" leaves it to the index.
    layer: str = "auto"
    output_dir: str = "outputs/gradcam"
    methods: tuple[str, ...] = ("gradcam",)
    when: str = "every_round"
    every_n: int = 5
    samples: int = 16
    explain: str = "predicted"
    models: str = "both"
    upload: str = "none"
    max_seconds: float = 30.0
    #: Of the time that rounds take: beyond it, single pictures and quality scores wait a round.
    max_share: float = 0.05
    #: Pictures of older rounds are removed; the series of scores stays.
    keep_rounds: int = 50
    seed: int = 42

    def __post_init__(self) -> None:
        wrong = _mistakes(self)
        if wrong:
            raise Invalid("the [xai] section is wrong: " + "; ".join(wrong))

    @classmethod
    def of(cls, section: object, seed: int = 42) -> Options:
        """From the config's section, whether a mapping or an object with attributes.

        Raises:
            Invalid: a value is not allowed. All of them are named at once.
        """
        known = {field.name for field in fields(cls)}
        if isinstance(section, Mapping):
            given = dict(section)
            unknown = [f"unknown key '{k}'{did_you_mean(k, known)}" for k in given.keys() - known]
            if unknown:
                raise Invalid("the [xai] section is wrong: " + "; ".join(sorted(unknown)))
        else:
            given = {name: getattr(section, name) for name in known if hasattr(section, name)}
        if isinstance(given.get("methods"), list):
            given["methods"] = tuple(given["methods"])
        return cls(**{"enabled": False, "seed": seed, **given})

    @property
    def roles(self) -> tuple[str, ...]:
        """The classes to explain of every sample."""
        return ("predicted", "true") if self.explain == "both" else (self.explain,)

    def due(self, round: int, of: int) -> bool:
        """Whether to explain after ``round`` of ``of``. Round 0 is the moment before any training."""
        if self.when == "before" or round == 0:
            return self.when == "before" and round == 0
        if self.when == "after":
            return round == of
        return self.when == "every_round" or round % self.every_n == 0 or round == of

    def within(self, limits: Limits) -> tuple[Options, list[str]]:
        """These options inside what the device's owner allows, and one line for each cut."""
        wanted: dict[str, Any] = {
            "enabled": self.enabled and limits.enabled,
            "upload": min(self.upload, limits.upload, key=CHOICES["upload"].index),
            "samples": min(self.samples, limits.samples or self.samples),
            "max_seconds": min(self.max_seconds, limits.max_seconds or self.max_seconds),
        }
        cut = {name: value for name, value in wanted.items() if value != getattr(self, name)}
        lines = [
            f"xai.{name} = {getattr(self, name)!r} of the task became {value!r}: "
            "the owner of this device allows no more (device.toml)"
            for name, value in cut.items()
        ]
        return replace(self, **cut), lines

    def folder(self, base: Path) -> Path:
        """Where the output goes: ``output_dir`` inside ``base``, never outside.

        Raises:
            Invalid: ``output_dir`` is absolute or climbs out of the folder.
        """
        path = PurePath(self.output_dir)
        if path.is_absolute() or ".." in path.parts:
            raise Invalid(
                f"xai.output_dir = '{self.output_dir}' leaves the client's folder; "
                "give a relative path without '..', such as 'outputs/gradcam'"
            )
        return base / path


@dataclass(frozen=True)
class Limits:
    """What the owner of a device allows (its ``device.toml``). No deployment changes it."""

    enabled: bool = True
    #: What may leave the device at most: nothing, unless the owner says so.
    upload: str = "none"
    samples: int | None = None
    max_seconds: float | None = None


def _mistakes(options: Options) -> list[str]:
    wrong = [
        f"{name} = {getattr(options, name)!r} is not one of {comma_list(allowed)}"
        for name, allowed in CHOICES.items()
        if getattr(options, name) not in allowed
    ]
    wrong += [
        f"{name} must be a whole number of 1 or more"
        for name in _COUNTS
        if not _is_int(getattr(options, name)) or getattr(options, name) < 1
    ]
    if not _is_int(options.target_layer_index):
        wrong.append("target_layer_index must be a whole number (-1 is the last convolution)")
    if not _is_positive(options.max_seconds):
        wrong.append("max_seconds must be a number above 0")
    if not _is_positive(options.max_share):
        wrong.append("max_share must be a number above 0")
    if not _is_a(str, options.layer) or not options.layer:
        wrong.append("layer must be a layer's name or 'auto'")
    return wrong + _method_mistakes(options.methods)


def _method_mistakes(methods: object) -> list[str]:
    if (
        not isinstance(methods, tuple)
        or not methods
        or not all(isinstance(m, str) for m in methods)
    ):
        return ["methods must be a list of names, such as ['gradcam']"]
    twice = sorted({m for m in methods if methods.count(m) > 1})
    return [f"methods names {comma_list(twice)} more than once"] if twice else []


def _is_a(kind: type, value: object) -> bool:
    return isinstance(value, kind)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value < float("inf")
