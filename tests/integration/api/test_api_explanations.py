"""What a device lets the server know of its explanations, as an operator reads it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from managing import World

from fedops.core import contracts as c
from fedops.core.errors import NotFound

PNG = b"\x89PNG\r\n\x1a\n" + b"a picture of local data"


def record(kind: c.RecordKind, name: str, run_id: int, round_: int, **more: Any) -> c.DeviceRecord:
    unique = f"{kind}-{name}-{round_}".replace("/", "-")[-60:]
    return c.DeviceRecord(id=unique, kind=kind, run_id=run_id, round=round_, name=name, **more)


def test_scores_alarms_and_pictures_by_round_and_device(world: World, tmp_path: Path) -> None:
    world.task()
    device = world.ready_devices("pi", "other")["other"]
    run, engine = world.running()
    world.ask(engine, "other")
    metric, event = c.RecordKind.METRIC, c.RecordKind.EVENT
    encoded = {"png": base64.b64encode(PNG).decode()}
    device.records(
        c.RecordBatch(
            records=[
                record(metric, "xai/local_over_rounds/layercam/worst", run.id, 2, value=0.4),
                record(metric, "xai/local/gradcam/deletion", run.id, 1, value=0.25),
                record(metric, "train_loss", run.id, 1, value=0.5),
                record(event, "explanation_drift", run.id, 2, text="it looks elsewhere"),
                record(event, "explanation_failed", run.id, 3, text="no time"),
                record(event, "explanation_picture", run.id, 2, text="sheet.png", data=encoded),
                record(event, "explanation_picture", run.id, 4, data={"png": "PGh0bWw+"}),
            ]
        )
    )
    first, second, third, fourth = world.operator.explanations(run.id)
    assert first.scores == {"local/gradcam/deletion": 0.25}
    assert (second.device, second.round, second.alarms) == ("other", 2, ["it looks elsewhere"])
    assert second.scores == {"local_over_rounds/layercam/worst": 0.4}
    assert third.failures == ["no time"]
    (picture,) = second.pictures
    file = world.operator.download_explanation(run.id, "other", picture, tmp_path / "sheet.png")
    assert file.read_bytes() == PNG
    # the event log names the picture and does not hold it
    (said,) = [e for e in world.operator.events() if e.text == "sheet.png"]
    assert said.data == {"reported": {}}
    for device_, id_ in (("pi", picture), ("other", fourth.pictures[0]), ("other", "nothing-here")):
        with pytest.raises(NotFound, match=f"run {run.id} has no picture"):
            world.operator.download_explanation(run.id, device_, id_, tmp_path / "none.png")


def test_an_unknown_run(world: World) -> None:
    with pytest.raises(NotFound):
        world.operator.explanations(77)
