"""The sentences that say why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedops.core.contracts import EngineProgress, ProcessReport, Stage
from fedops.core.reasons.attempts import AttemptFacts, attempt_why
from fedops.core.reasons.devices import DeviceFacts, device_why, presence, unavailable
from fedops.core.reasons.durations import duration, first_few, pluralised
from fedops.core.reasons.runs import RunFacts, run_why
from fedops.core.reasons.shortages import Lack, Shortage
from fedops.core.reasons.work import WorkFacts, working
from fedops.core.states import AttemptStatus, Enrolment, FailureReason, ProcessStatus, RunStatus

OR_STOP = "; start what is missing ('fedops client run' there) or 'fedops run stop 7'"
FULL = Shortage(Lack.DISK, "/var/fedops")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.9, "0 s"),
        (41.7, "41 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7_199, "119 min"),
        (7_200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert duration(seconds) == text


BENCHED = WorkFacts("bench", "mnist", None, None, True, Stage.TRAINING)


def test_a_benchmark_is_called_what_it_is() -> None:
    assert device_why(_device(work=(BENCHED,))) == (
        "online; training for the benchmark of task 'mnist'"
    )
    loading = replace(BENCHED, stage=Stage.DOWNLOADING, done=1, total=4_000_000)
    assert "downloading 0 % of 4.0 MB for the benchmark of task 'mnist'" in device_why(
        _device(work=(loading,))
    )
    process = ProcessReport(
        status=ProcessStatus.TRAINING, task="mnist", run_id=None, seconds_in_state=4.0
    )
    assert device_why(_device(process=process)) == (
        "online; training for the benchmark of task 'mnist' for 4 s"
    )
    of_round = WorkFacts("train", "mnist", 7, 2, True)
    assert working(of_round, [BENCHED]) == "works for the benchmark of task 'mnist' first"
    assert (
        working(of_round, [replace(BENCHED, hidden=True, task="")]) == "works for another run first"
    )
    assert working(BENCHED, [replace(of_round, stage=Stage.TRAINING)]) == "training"


def test_counts_and_lists() -> None:
    assert (pluralised(1, "device"), pluralised(2, "device")) == ("1 device", "2 devices")
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert first_few(["a", "b"], 2) == "a, b"
    assert first_few(["a", "b", "c"], 1_000) == "a, b, c and 997 more"


def _device(name: str = "pi-3", **values: object) -> DeviceFacts:
    process = ProcessReport(status=ProcessStatus.IDLE, task="mnist")
    facts = DeviceFacts(name, Enrolment.APPROVED, True, 1.0, process, ("mnist",))
    return replace(facts, **values)  # type: ignore[arg-type]


def _process(status: ProcessStatus, **values: object) -> ProcessReport:
    return ProcessReport(status=status, seconds_in_state=12.3, **values)  # type: ignore[arg-type]


def test_presence() -> None:
    assert presence(_device()) == "online"
    assert presence(_device(online=False, last_seen_seconds=41)) == "offline, last seen 41 s ago"
    assert presence(_device(online=False, last_seen_seconds=None)) == "never seen"


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (
            {"enrolment": Enrolment.PENDING},
            "waiting for approval ('fedops device approve pi-3'); online",
        ),
        (
            {"enrolment": Enrolment.REJECTED},
            "rejected: it takes part in nothing; 'fedops device remove pi-3' frees its name",
        ),
        (
            {"enrolment": Enrolment.REVOKED},
            "revoked: it takes part in nothing; 'fedops device remove pi-3' frees its name",
        ),
        (
            {"enrolment": Enrolment.QUARANTINED, "quarantine": "a doubt"},
            "quarantined (a doubt): it is asked for nothing until"
            " 'fedops device release pi-3 --because TEXT'; online",
        ),
        (
            {"online": False, "last_seen_seconds": 200},
            "offline, last seen 3 min ago; start 'fedops client run' on it",
        ),
        ({"problems": ("there is no task 'x'",)}, "online, but there is no task 'x'"),
        (
            {"tasks": ()},
            "online, but in no task: on the device, 'fedops client run --app PATH --task NAME'",
        ),
        ({}, "online; its training client is ready"),
        (
            {"lacking": FULL.short(), "unheard_seconds": 14.2, "last_seen_seconds": 15.0},
            "online; its training client is ready; as of 14 s ago: the server's disk is full",
        ),
        (
            {"process": _process(ProcessStatus.TRAINING, run_id=7, round=3)},
            "online; training round 3 in run 7 for 12 s",
        ),
        ({"process": _process(ProcessStatus.EVALUATING)}, "online; evaluating for 12 s"),
        (
            {"process": _process(ProcessStatus.STARTING)},
            "online; its training client has been starting for 12 s",
        ),
        (
            {"process": _process(ProcessStatus.STARTING, limit_seconds=300)},
            "online; its training client has been starting for 12 s, limit 5 min",
        ),
        (
            {"process": _process(ProcessStatus.BACKOFF, restarts=2, limit_seconds=16)},
            "online; its training client died (2 restarts) and starts again in 3 s",
        ),
        ({"process": _process(ProcessStatus.STOPPED)}, "online; its training client is stopped"),
        (
            {"process": _process(ProcessStatus.BACKOFF, restarts=1, reason="killed (9)")},
            "online; its training client died (1 restart) and starts again soon: killed (9)",
        ),
        (
            {"process": _process(ProcessStatus.FATAL, reason="no module named toy")},
            "online; its training client was given up: no module named toy; "
            "mend that, then 'fedops client restart' on the device",
        ),
    ],
)
def test_devices(values: dict[str, object], text: str) -> None:
    assert device_why(_device(**values)) == text


@pytest.mark.parametrize("status", ProcessStatus)
def test_every_process_status_has_a_sentence(status: ProcessStatus) -> None:
    assert device_why(_device(process=_process(status))).startswith("online; ")


UNMET = ProcessReport(status=ProcessStatus.IDLE, task="mnist", unmet_conditions="not charging")


def test_a_device_whose_owner_lets_it_take_no_work_now_says_so() -> None:
    assert device_why(_device(process=UNMET)) == (
        "online; its training client is ready; "
        "takes no new work by its owner's conditions: not charging"
    )


def test_whether_a_device_can_be_invited() -> None:
    starting = _process(ProcessStatus.STARTING)
    cases = [
        (_device(), None, None),
        (_device(process=_process(ProcessStatus.TRAINING, task="mnist")), None, None),
        (_device(process=_process(ProcessStatus.TRAINING, task="other")), None, None),
        (_device(), "another data set", "refused for this run: another data set"),
        (_device(online=False), None, "offline, last seen 1 s ago"),
        (_device(process=starting), None, "its training client has been starting for 12 s"),
        (
            _device(process=UNMET),
            None,
            "takes no new work by its owner's conditions: not charging",
        ),
    ]
    for device, refused, why in cases:
        assert unavailable(device, "mnist", refused) == why


def _work(stage: Stage = Stage.WAITING, **values: object) -> WorkFacts:
    facts = WorkFacts("train", "mnist", 7, 3, accepted=True, stage=stage)
    return replace(facts, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("work", "text"),
    [
        (_work(accepted=False), "has not fetched its work yet"),
        (_work(), "about to begin"),
        (_work(text="no room on the disk"), "waiting (no room on the disk)"),
        (_work(Stage.DOWNLOADING, done=19_500_000, total=45_000_000), "downloading 43 % of 45 MB"),
        (_work(Stage.TRAINING, done=1, total=5), "training epoch 2 of 5"),
        (_work(Stage.UPLOADING, done=8, total=10), "uploading 80 % of 10 B"),
        (
            _work(Stage.WAITING_TO_UPLOAD, text="the server is out of reach"),
            "waiting to upload (the server is out of reach)",
        ),
    ],
)
def test_what_a_device_does_for_an_assignment(work: WorkFacts, text: str) -> None:
    assert working(work) == text


def test_work_that_waits_names_the_run_that_comes_first() -> None:
    other = _work(Stage.TRAINING, run_id=3, task="cifar")
    assert working(_work(), [other]) == "works for run 3 of task 'cifar' first"
    assert working(_work(), [_work(run_id=3)]) == "about to begin"


def test_a_device_says_what_it_works_on() -> None:
    training = _work(Stage.TRAINING, done=1, total=5)
    query = _work(Stage.EVALUATING, kind="query", round=None)
    assert device_why(_device(work=(training, _work()))) == (
        "online; training epoch 2 of 5 in round 3 of run 7"
    )
    assert device_why(_device(work=(query,))) == "online; evaluating, query of run 7"


def test_that_a_training_client_died_is_told_before_the_work_it_left() -> None:
    uploading = _work(Stage.UPLOADING, done=8, total=10)
    died = _process(ProcessStatus.BACKOFF, restarts=1, limit_seconds=16)
    assert device_why(_device(process=died, work=(uploading,))) == (
        "online; its training client died (1 restart) and starts again in 3 s; "
        "uploading 80 % of 10 B in round 3 of run 7"
    )
    given_up = _process(ProcessStatus.FATAL, reason="killed (9)")
    assert device_why(_device(process=given_up, work=(uploading,))) == (
        "online; its training client was given up: killed (9); "
        "uploading 80 % of 10 B in round 3 of run 7; "
        "mend that, then 'fedops client restart' on the device"
    )


def test_a_run_says_what_its_devices_do() -> None:
    progress = EngineProgress(
        phase="training", round=3, selected=["pi-1", "pi-2", "pi-3"], replied=["pi-2"]
    )
    busy = _device("pi-1", work=(_work(Stage.UPLOADING, done=8, total=10),))
    run = replace(BASE, progress=progress, devices=[busy, _device("pi-2"), AWAY])
    assert run_why(run) == (
        "round 3 of 5: training, 1 of 3 replied; waiting for pi-3 (offline, last seen 41 s ago); "
        "pi-1: uploading 80 % of 10 B"
    )


AWAY = _device("pi-3", online=False, last_seen_seconds=41)
THREE = (_device("pi-1"), _device("pi-2"), AWAY)
BASE = RunFacts(7, RunStatus.RUNNING, rounds=5, committed_rounds=2, seconds_in_state=3.0, attempt=1)


def test_who_is_there_and_not_ready_need_not_be_started() -> None:
    reason = "not ready: no such folder"
    devices = (_device("pi-1"), _device("pi-2"))
    progress = _progress("waiting", needed=2)
    run = replace(BASE, progress=progress, devices=devices, unavailable={"pi-2": reason})
    assert run_why(run) == (
        f"waiting for 1 more device: 2 of 2 online, pi-2: {reason}; "
        "see 'fedops device list', mend what is missing there, or 'fedops run stop 7'"
    )


def test_a_round_that_begins_without_those_who_are_away_says_when() -> None:
    progress = _progress("waiting", needed=3, begins_in=21.4)
    run = replace(BASE, progress=progress, devices=THREE, unavailable={"pi-3": "offline"})
    assert run_why(run) == (
        "waiting for 1 more device: 2 of 3 online, the round begins without in 21 s, "
        f"pi-3 last seen 41 s ago{OR_STOP}"
    )


def test_of_many_at_work_a_few_are_named_and_all_are_counted() -> None:
    names = [f"pi-{number}" for number in range(1_000)]
    at_work = _work(Stage.TRAINING, done=1, total=5)
    devices = (*(_device(name, work=[at_work]) for name in names[:20]), AWAY)
    progress = _progress("training", selected=[*names, "pi-3x"], replied=[])
    run = replace(BASE, progress=progress, devices=devices, at_work=1_000)
    assert "; 19 devices: training epoch 2 of 5; and 980 more" in run_why(run)
    assert "waiting for pi-3 (offline" in run_why(run), "one of the thousand is away"


def _stuck(text: str) -> WorkFacts:
    return replace(_work(Stage.WAITING_TO_UPLOAD), text=text)


def _progress(phase: str, **values: object) -> EngineProgress:
    return EngineProgress.model_validate({"phase": phase, "round": 3, **values})


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"status": RunStatus.PENDING}, "waiting for the engine for 3 s"),
        (
            {"status": RunStatus.PENDING, "text": "the engine is down"},
            "waiting for the engine for 3 s (the engine is down)",
        ),
        (
            {"status": RunStatus.PENDING, "limit_seconds": 3_600},
            "waiting for the engine for 3 s, limit 60 min",
        ),
        ({"status": RunStatus.STARTING}, "attempt 1 has been starting for 3 s"),
        (
            {"status": RunStatus.STARTING, "limit_seconds": 90},
            "attempt 1 has been starting for 3 s, limit 90 s",
        ),
        (
            {"progress": _progress("waiting"), "limit_seconds": 600, "progress_seconds": 12},
            f"waiting for 1 more device: 0 of 1 online; for 12 s, limit 10 min{OR_STOP}",
        ),
        (
            {
                "status": RunStatus.PAUSING,
                "asked": 3,
                "unconfirmed": ("pi-3",),
                "limit_seconds": 10,
            },
            "pausing 2 of 3: waiting for pi-3; for 3 s, limit 10 s",
        ),
        (
            {"status": RunStatus.RESUMING, "text": "attempt 1 was lost: killed"},
            "going on with round 3 of 5 in a new attempt, for 3 s: attempt 1 was lost: killed",
        ),
        ({}, "attempt 1 is up and prepares round 3 of 5"),
        (
            {
                "progress": _progress("waiting"),
                "needed": 3,
                "devices": THREE,
                "unavailable": {"pi-3": presence(AWAY)},
            },
            f"waiting for 1 more device: 2 of 3 online, pi-3 last seen 41 s ago{OR_STOP}",
        ),
        (
            {"progress": _progress("waiting", needed=2)},
            f"waiting for 2 more devices: 0 of 2 online{OR_STOP}",
        ),
        (
            {"progress": _progress("waiting"), "needed": 2, "devices": THREE},
            "round 3 of 5: choosing among 3 devices",
        ),
        (
            {
                "progress": _progress("waiting", detail="waits for the scores of round 1"),
                "needed": 2,
                "devices": THREE,
            },
            "round 3 of 5: waits for the scores of round 1",
        ),
        (
            {
                "progress": _progress(
                    "training", selected=["pi-1", "pi-2", "pi-3"], replied=["pi-1"]
                ),
                "devices": THREE,
            },
            "round 3 of 5: training, 1 of 3 replied; "
            "waiting for pi-3 (offline, last seen 41 s ago)",
        ),
        (
            {
                "progress": _progress("training", selected=["pi-1", "pi-3"], replied=["pi-1"]),
                "devices": THREE,
                "shortage": FULL.text(),
            },
            "the server's disk is full (/var/fedops): free some space, and it goes on; "
            "round 3 of 5: training, 1 of 2 replied",
        ),
        (
            {"status": RunStatus.COMPLETED, "shortage": FULL.text(), "committed_rounds": 5},
            "completed 5 rounds",
        ),
        (
            {
                "progress": _progress(
                    "training", selected=["pi-1", "pi-2"], replied=["pi-1", "pi-2"]
                )
            },
            "round 3 of 5: training, 2 of 2 replied",
        ),
        (
            {"progress": _progress("aggregating", replied=["a", "b"]), "progress_seconds": 2.5},
            "round 3 of 5: aggregating 2 updates for 2 s",
        ),
        (
            {"progress": _progress("committing"), "progress_seconds": 0.1},
            "round 3 of 5: committing for 0 s",
        ),
        (
            {"status": RunStatus.STOPPING, "asked": 3, "unconfirmed": ("pi-3",)},
            "stopping 2 of 3: waiting for pi-3",
        ),
        (
            {"status": RunStatus.PAUSING, "asked": 3},
            "pausing: waiting for the engine to end the round",
        ),
        (
            {"status": RunStatus.PAUSED},
            "paused after round 2 of 5, for 3 s; go on with 'fedops run resume 7'",
        ),
        (
            {"status": RunStatus.COMPLETED, "version": 4, "metrics": {"accuracy": 0.9316}},
            "completed 2 rounds; the global model is V4 (accuracy 0.932)",
        ),
        ({"status": RunStatus.COMPLETED}, "completed 2 rounds"),
        (
            {"status": RunStatus.STOPPED, "text": "stopped by the operator"},
            "stopped after round 2 of 5: stopped by the operator; do the rest with 'fedops run retry 7'",
        ),
        (
            {
                "status": RunStatus.FAILED,
                "reason": FailureReason.TOO_FEW_CLIENTS,
                "text": "1 of 2 devices for 600 s",
            },
            "failed (too_few_clients) after round 2 of 5: 1 of 2 devices for 600 s; "
            "see 'fedops device list', then do the rest with 'fedops run retry 7'",
        ),
        (
            {
                "status": RunStatus.FAILED,
                "reason": FailureReason.APP_ERROR,
                "text": "no such column",
                "task": "mnist",
            },
            "failed (app_error) after round 2 of 5: no such column; mend the app, "
            "'fedops task update mnist --app PATH', then 'fedops run retry 7 --current-app'",
        ),
        (
            {"status": RunStatus.COMPLETED, "version": 4, "task": "mnist"},
            "completed 2 rounds; the global model is V4; 'fedops model download mnist V4' fetches it",
        ),
        (
            {"status": RunStatus.STARTING, "crashes": 2, "crash": "exit code 1"},
            "attempt 1 has been starting for 3 s; the attempt before was lost, 2 in a row: exit code 1; "
            "'fedops run logs 7' has more",
        ),
        (
            {"status": RunStatus.RESUMING, "crashes": 1, "text": "attempt 1 was lost: killed"},
            "going on with round 3 of 5 in a new attempt, for 3 s: attempt 1 was lost: killed; "
            "'fedops run logs 7' has more",
        ),
        (
            {
                "progress": _progress("training", selected=["pi-1", "pi-2"]),
                "devices": [
                    _device("pi-1", work=[_stuck("the server's disk is full (/x); free it")]),
                    _device("pi-2", work=[_stuck("the server's disk is full (/x); free it")]),
                ],
                "shortage": FULL.text(),
            },
            "the server's disk is full (/var/fedops): free some space, and it goes on; "
            "round 3 of 5: training, 0 of 2 replied; pi-1, pi-2: waiting to upload",
        ),
        (
            {
                "progress": _progress("waiting", needed=9),
                "devices": (
                    *(_device(f"off-{n}", online=False, last_seen_seconds=n) for n in range(4)),
                    *(_device(f"new-{n}") for n in range(4)),
                ),
                "unavailable": {
                    **{f"off-{n}": "offline" for n in range(4)},
                    **{f"new-{n}": "its training client is stopped" for n in range(4)},
                },
            },
            "waiting for 9 more devices: 4 of 9 online, 4 devices offline, "
            f"4 devices: its training client is stopped{OR_STOP}",
        ),
        (
            {
                "status": RunStatus.COMPLETED,
                "task": "mnist",
                "version": 4,
                "quarantine": "its loss is 5",
                "metrics": {"accuracy": 0.1},
            },
            "completed 2 rounds; V4 is quarantined: its loss is 5; 'fedops run show 7' tells who took part;"
            " if it is good after all, 'fedops model release mnist V4 --because TEXT'",
        ),
        (
            {"status": RunStatus.FAILED, "text": "it is not there", "again": "'fedops ...'"},
            "failed after round 2 of 5: it is not there; try again with 'fedops ...'",
        ),
    ],
)
def test_runs(values: dict[str, object], text: str) -> None:
    assert run_why(replace(BASE, **values)) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("status", RunStatus)
def test_every_run_status_has_a_sentence(status: RunStatus) -> None:
    assert run_why(replace(BASE, status=status))


@pytest.mark.parametrize(
    ("attempt", "text"),
    [
        (
            AttemptFacts(AttemptStatus.STARTING, None, 4.2, 90),
            "its FL server has been starting for 4 s, limit 90 s",
        ),
        (
            AttemptFacts(AttemptStatus.RUNNING, 77, 1.0, 3_600),
            "its FL server (process 77) is beginning for 1 s, limit 60 min",
        ),
        (
            AttemptFacts(
                AttemptStatus.RUNNING, 77, 9.9, 600, EngineProgress(round=3, phase="training")
            ),
            "its FL server (process 77) is training in round 3 for 9 s, limit 10 min",
        ),
        (AttemptFacts(AttemptStatus.ENDED, 77, 9.9, None), "ended"),
        (
            AttemptFacts(AttemptStatus.LOST, 77, 9.9, None, reason="the engine died under it"),
            "lost: the engine died under it",
        ),
        (AttemptFacts(AttemptStatus.CANCELLED, None, 9.9, None), "cancelled"),
    ],
)
def test_attempts(attempt: AttemptFacts, text: str) -> None:
    assert attempt_why(attempt) == text
