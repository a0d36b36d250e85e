"""The pure parts of the Client Manager: reasons, choices, sentences, limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import (
    DEFAULT_TEXT,
    DeviceConfig,
    ensure_device_config,
    load_device_config,
)
from fedops.client.device.enrolment import default_name, describe_device
from fedops.client.local.messages import ClientStatus, HeldStatus, ServerStatus
from fedops.client.local.status_text import why
from fedops.client.manager.task_selection import choose_tasks
from fedops.client.spool.child_output import LogFile
from fedops.client.supervision.exit_status import why_ended
from fedops.client.supervision.process_setup import child_env
from fedops.client.telemetry.system_metrics import Telemetry, _gpu_values, memory_of
from fedops.core.contracts import ProcessReport, RecordKind
from fedops.core.errors import Invalid, NotFound
from fedops.core.states import ProcessStatus


@pytest.mark.parametrize(
    ("code", "lines", "said"),
    [
        (1, ["Traceback ...", "  File x", "ValueError: bad", " "], "code 1: ValueError: bad"),
        (3, [], "code 3, without a word"),
        (0, ["done"], "by itself: done"),
        (-9, ["epoch 1"], "killed, probably because memory ran out"),
        (137, [], "killed, probably because memory ran out"),
        (-11, ["x"], "native code (SIGSEGV): is a library built for another machine?: x"),
        (-15, [], "ended by SIGTERM, without a word"),
        (-63, [], "signal 63"),
    ],
)
def test_why_a_process_ended(code: int, lines: list[str], said: str) -> None:
    assert said in why_ended(code, lines)


def test_tasks_are_chosen_among_the_ready_ones() -> None:
    assert choose_tasks(["b", "a", "b"], ["a", "b", "c"], "url") == ["b", "a"]
    assert choose_tasks([], ["only"], "url") == ["only"]
    with pytest.raises(NotFound, match=r"did you mean 'mnist'\?; ready tasks: 'mnist'"):
        choose_tasks(["mnits"], ["mnist"], "url")
    with pytest.raises(NotFound, match="no ready task 'x'; it has no ready task"):
        choose_tasks(["x"], [], "url")
    with pytest.raises(NotFound, match=r"--task.*'a', 'b'"):
        choose_tasks([], ["b", "a"], "url")
    with pytest.raises(NotFound, match="it has no ready task"):
        choose_tasks([], [], "url")


# --- device.toml -----------------------------------------------------------------------------------


def test_the_commented_defaults_are_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "device.toml"
    ensure_device_config(path)
    assert load_device_config(path) == DeviceConfig()
    lines = DEFAULT_TEXT.splitlines()
    path.write_text("\n".join(line.removeprefix("# ") for line in lines[3:]))
    assert load_device_config(path) == DeviceConfig()
    path.write_text("[uploads]\nlogs = false\n")
    ensure_device_config(path)
    assert not load_device_config(path).uploads.logs
    assert load_device_config(tmp_path / "none.toml") == DeviceConfig()


def test_limits_lower_and_say_so() -> None:
    config = DeviceConfig.model_validate({"limits": {"max_epochs": 2, "max_batch_size": 32}})
    bounded, said = config.bound({"num_epochs": 5, "batch_size": 16, "learning_rate": 0.1})
    assert bounded == {"num_epochs": 2, "batch_size": 16, "learning_rate": 0.1}
    assert said == ["num_epochs lowered from 5 to 2 by this device's owner"]
    assert DeviceConfig().bound({"num_epochs": 5}) == ({"num_epochs": 5}, [])


def test_the_owner_chooses_the_accelerator() -> None:
    limits = {"accelerator": "cuda:1", "accelerator_memory_mb": 4_000}
    config = DeviceConfig.model_validate({"limits": limits})
    assert config.overrides() == [
        'resources.accelerator="cuda:1"',
        "resources.accelerator_memory_mb=4000",
    ]
    assert DeviceConfig().overrides() == []
    said = config.bound({"resources": {"accelerator": "cpu"}})[1]
    assert said == ["accelerator 'cpu' replaced by 'cuda:1' by this device's owner"]
    assert config.bound({"resources": {"accelerator": "auto"}})[1] == []


@pytest.mark.parametrize(
    ("accelerator", "ours", "visible"),
    [
        ("auto", None, None),
        ("cuda", None, None),
        ("cpu", "0,1", ""),
        ("mps", None, ""),
        ("cuda:1", None, "1"),
        ("cuda:1", "4,GPU-77", "GPU-77"),
        ("cuda:1", "4", ""),
    ],
)
def test_what_was_not_chosen_is_hidden_from_the_app_too(
    accelerator: str, ours: str | None, visible: str | None
) -> None:
    config = DeviceConfig.model_validate({"limits": {"accelerator": accelerator}})
    base = {} if ours is None else {"CUDA_VISIBLE_DEVICES": ours}
    env = child_env(config, base)
    assert env.get("CUDA_VISIBLE_DEVICES") == visible
    assert env.get("KERAS_TORCH_DEVICE") == ("cpu" if accelerator == "cpu" else None)


def test_what_may_leave() -> None:
    config = DeviceConfig.model_validate({"uploads": {"logs": False, "telemetry": False}})
    assert [kind for kind in RecordKind if config.may_leave(kind)] == ["metric", "event"]
    assert all(DeviceConfig().may_leave(kind) for kind in RecordKind)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[limits]\nthread = 1", "limits.thread: unknown key; did you mean 'threads'?"),
        ("[limits]\nthreads = -1", "limits.threads = -1"),
        (
            '[limits]\naccelerator = "gpu"',
            'must be "auto", "cpu", "cuda", "mps", or one CUDA device by its number, such as "cuda:1"',
        ),
        ('[uploads]\nexplanations = "all"', "must be one of 'none', 'scores', 'images'"),
        ("[limits\n", "cannot read"),
    ],
)
def test_each_mistake_in_device_toml_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "device.toml"
    path.write_text(text)
    with pytest.raises(Invalid) as caught:
        load_device_config(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message


# --- sentences --------------------------------------------------------------------------------------


def status(process: ProcessReport, **server: object) -> ClientStatus:
    known = {"url": "http://s", "reachable": True, "seconds": 3.0, **server}
    return ClientStatus(
        device="pi-1",
        home="/h",
        running=True,
        server=ServerStatus.model_validate(known),
        process=process,
    )


@pytest.mark.parametrize("state", list(ProcessStatus))
def test_every_state_has_a_sentence(state: ProcessStatus) -> None:
    report = ProcessReport(status=state, run_id=7, round=2, seconds_in_state=4.2, reason="boom")
    assert why(status(report))


def test_the_sentence_names_what_is_waited_for() -> None:
    training = ProcessReport(status=ProcessStatus.TRAINING, run_id=7, round=2, seconds_in_state=4.2)
    assert why(status(training)) == "training round 2 of run 7 for 4 s"
    held = HeldStatus(
        id="a", kind="train", task="t", run_id=7, round=2, doing="training epoch 2 of 5"
    )
    working = status(training).model_copy(update={"held": [held]})
    assert why(working) == "round 2 of run 7: training epoch 2 of 5"
    idle = ProcessReport(status=ProcessStatus.IDLE)
    bench = HeldStatus(id="2", kind="bench", task="mnist", doing="training")
    at_it = status(idle).model_copy(update={"held": [bench]})
    assert why(at_it) == "the benchmark of task 'mnist': training"
    assert "waiting to be selected in run 9" in why(status(idle, runs=[9]))
    away = why(status(idle, reachable=False, problem="refused"))
    assert away.endswith("the server is out of reach for 3 s (refused)")
    assert "approve" in why(status(idle, enrolment="pending"))
    assert "no task 'x'" in why(status(idle, problems=["no task 'x'"]))
    assert "not been reached" in why(status(idle, reachable=None))


# --- this machine -----------------------------------------------------------------------------------


def test_a_device_describes_itself() -> None:
    info = describe_device()
    assert info.cpus > 0
    assert info.memory_bytes > 0
    assert info.fedops.startswith("2.")
    assert info.libraries["fedops"] == info.fedops
    assert default_name()


def test_telemetry_has_rates_from_the_second_sample_on(tmp_path: Path) -> None:
    import os

    telemetry = Telemetry(tmp_path)
    first, second = telemetry.sample(None), telemetry.sample(os.getpid())
    assert {"cpu_percent", "memory_percent", "disk_free_mb"} <= first.keys()
    assert "net_sent_bytes" not in first
    assert second["training_memory_mb"] > 5
    assert memory_of(2**22 + 1) is None


def test_gpu_lines_are_read() -> None:
    assert _gpu_values(["35, 1000, 4000", ""]) == {
        "gpu0_percent": 35.0,
        "gpu0_memory_percent": 25.0,
    }


def test_a_log_file_is_bounded(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "logs" / "x.log", limit=1_000)
    for number in range(500):
        log.write(f"line {number}")
    log.close()
    files = sorted((tmp_path / "logs").iterdir())
    assert [f.name for f in files] == ["x.log", "x.log.1"]
    assert sum(f.stat().st_size for f in files) < 2_100
    assert files[0].read_text().endswith("line 499\n")


def test_a_home_is_the_same_place_in_whatever_folder_the_process_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = DataDir(Path("left"))
    monkeypatch.chdir("/")
    assert home.identity == tmp_path / "left" / "device.json"
