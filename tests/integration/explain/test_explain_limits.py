"""Explaining within its share of the time, and without doing any harm to a round."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from digits_model import Cnn, opened, read
from torch import Tensor

from fedops.core.errors import Unavailable
from fedops.explain.explainers.options import Limits, Options
from fedops.explain.service.explainer import Explainer
from fedops.testing import FakeClock


def test_the_time_is_bounded_and_what_is_done_is_written(
    model: Cnn, data: Any, tmp_path: Path
) -> None:
    clock = FakeClock()

    class Slow(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            clock.advance(1)
            return super().forward(x)

    slow = Slow()
    slow.load_state_dict(model.state_dict())
    explainer = Explainer.open(
        slow,
        Options(samples=6, max_seconds=3, methods=("gradcam", "kernelshap")),
        data,
        folder=tmp_path,
        clock=clock,
    )
    begin = clock()
    report = explainer.run(slow, slow, round=1)
    assert clock() - begin <= 4, "at most one pass more than allowed"
    assert not report.complete
    assert any("the time was over after 3 s" in note for note in report.notes)
    done = [row for row in report.samples if row["png"]]
    assert {row["method"] for row in done} == {"gradcam"}
    assert read(tmp_path / "round-0001")["complete"] is False
    assert explainer.run(slow, round=2, deadline=clock() + 1).seconds["total"] <= 2


def test_explaining_keeps_within_its_share_of_the_time(
    model: Cnn, data: Any, tmp_path: Path
) -> None:
    clock = FakeClock()

    class Slow(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            clock.advance(0.01)
            return super().forward(x)

    slow = Slow()
    slow.load_state_dict(model.state_dict())
    explainer = Explainer.open(slow, Options(samples=4), data, folder=tmp_path, clock=clock)
    first = explainer.run(slow, slow, round=1)
    assert first.files
    assert first.quality["local"]["gradcam"]["round"] == 1
    clock.advance(0.5)
    second = explainer.run(slow, slow, round=2)
    assert second.files == []
    assert second.sheets == first.sheets
    assert (second.folder / second.sheets[0]).is_file()
    assert second.quality == first.quality
    assert any("brief, to keep within xai.max_share" in note for note in second.notes)
    assert second.drift
    clock.advance(60)
    third = explainer.run(slow, slow, round=3)
    assert third.files
    assert third.quality["local"]["gradcam"]["round"] == 3
    assert explainer.run(slow, slow, round=4, full=True).files


def test_a_folder_that_cannot_be_written_to(model: Cnn, data: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match=r"cannot be written to .*file.*xai.output_dir"):
        opened(model, data, tmp_path / "file" / "outputs")
    explainer = opened(model, data, tmp_path / "good")
    with pytest.raises(Unavailable, match="cannot be written to"):
        explainer.run(model, out_dir=tmp_path / "file")
    (tmp_path / "good" / "round-0001").write_text("in the way")
    report = explainer.attempt(model, round=1)
    assert report.failure is not None
    assert "cannot be written to" in report.failure
    assert explainer.attempt(model, round=2).failure is None


def test_an_attempt_never_raises(model: Cnn, data: Any, tmp_path: Path) -> None:
    explainer = opened(model, data, tmp_path)
    assert "no tensor 'x'" in str(explainer.attempt({"x": np.zeros(1)}, round=1).failure)
    assert "no model to explain" in str(explainer.attempt(round=1).failure)
    assert "AttributeError" in str(explainer.attempt({"fc1.bias": 7}, round=1).failure)


def test_what_may_leave_is_bounded_by_the_owner(model: Cnn, data: Any, tmp_path: Path) -> None:
    def report(upload: str, allowed: str) -> Any:
        options = Options(samples=2, upload=upload)
        explainer = Explainer.open(
            model, options, data, folder=tmp_path, limits=Limits(upload=allowed)
        )
        return explainer.run(model, model, round=1)

    closed = report("images", "none")
    assert (closed.outgoing_scores(), closed.outgoing_pictures()) == ({}, [])
    assert any("xai.upload = 'images' of the task became 'none'" in note for note in closed.notes)
    numbers = report("images", "scores")
    assert numbers.outgoing_pictures() == []
    assert "xai/local/gradcam/deletion" in numbers.outgoing_scores()
    assert len(json.dumps(numbers.outgoing_scores())) < 5_000
    images = report("images", "images")
    assert [path.name for path in images.outgoing_pictures()] == ["sheet-gradcam-predicted.png"]
    assert report("none", "images").outgoing_scores() == {}


def test_nothing_is_imported_when_it_is_off(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from fedops.explain.service.start import open_explainer\n"
        "assert open_explainer({'enabled': False, 'layer': 'nonsense'}, None, None, base=Path('.')) is None\n"
        "heavy = {'torch', 'captum', 'matplotlib', 'PIL', 'sklearn', 'shap', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
