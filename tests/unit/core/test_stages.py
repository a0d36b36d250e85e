"""What a device does, in words."""

from __future__ import annotations

import pytest

from fedops.core.contracts import Stage
from fedops.core.reasons.stages import size_text, stage_text


@pytest.mark.parametrize(
    ("stage", "done", "total", "text", "said"),
    [
        (Stage.DOWNLOADING, 19_350_000, 45_000_000, "", "downloading 43 % of 45 MB"),
        (Stage.DOWNLOADING, 0, 0, "", "downloading"),
        (Stage.UPLOADING, 1_439_999, 1_800_000, "", "uploading 79 % of 1.8 MB"),
        (Stage.TRAINING, 1, 5, "", "training epoch 2 of 5"),
        (Stage.TRAINING, 5, 5, "", "training epoch 5 of 5"),
        (Stage.TRAINING, 0, 0, "", "training"),
        (
            Stage.WAITING_TO_UPLOAD,
            0,
            0,
            "the server is away",
            "waiting to upload (the server is away)",
        ),
    ],
)
def test_stages(stage: Stage, done: int, total: int, text: str, said: str) -> None:
    assert stage_text(stage, done, total, text) == said


@pytest.mark.parametrize("stage", list(Stage))
def test_every_stage_has_words(stage: Stage) -> None:
    assert stage_text(stage)


def test_sizes() -> None:
    assert [
        size_text(n) for n in (12, 12_000, 1_840_000, 9_960_000, 45_400_000, 2_100_000_000)
    ] == [
        "12 B",
        "12 kB",
        "1.8 MB",
        "10 MB",
        "45 MB",
        "2.1 GB",
    ]
