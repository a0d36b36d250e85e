"""What an operator may do with runs, what runs leave behind, and with studies, which are many runs."""

from __future__ import annotations

from pathlib import Path

from fedops.api_client.transport import Client, given
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorRuns(Client):
    """Runs: begun, watched, stopped and continued."""

    def start_run(self, task: str, body: c.RunStart) -> c.RunRead:
        """A new run of a task.

        ``NotFound`` when there is no such task or version, ``Conflict`` when the task is archived or has a
        run going on, ``Invalid`` for wrong overrides.

        >>> run = operator.start_run("mnist", c.RunStart(overrides=["num_rounds=2"]))
        >>> run.status.value, run.rounds, run.from_version
        ('pending', 2, 1)
        """
        return self._call(c.RunRead, "POST", f"/tasks/{require_name(task)}/runs", body)

    def runs(self, task: str | None = None, *, limit: int = 50) -> list[c.RunRead]:
        """The newest runs, of all tasks or of one. ``NotFound`` when there is no such task.

        >>> [run.status.value for run in operator.runs("mnist")]
        ['stopped', 'completed']
        """
        return self._list(c.RunRead, "/runs", task=task, limit=limit)

    def run(self, run_id: int) -> c.RunRead:
        """One run, and in one sentence what it does or how it ended. ``NotFound`` when there is none.

        >>> operator.run(finished).why.partition(";")[0]
        'completed 1 round'
        """
        return self._call(c.RunRead, "GET", f"/runs/{run_id}")

    def rounds(self, run_id: int) -> list[c.RoundRead]:
        """The rounds of a run and who took part in them. ``NotFound`` when there is no such run.

        >>> (first,) = operator.rounds(finished)
        >>> [(p.device, p.status.value, p.examples) for p in first.participations]
        [('jetson', 'replied', 100), ('pi', 'replied', 100)]
        """
        return self._list(c.RoundRead, f"/runs/{run_id}/rounds")

    def contributions(
        self, run_id: int, round_: int | None = None, *, limit: int = 20
    ) -> list[c.RoundScoresRead]:
        """What each update was worth, of the newest rounds or of one. ``NotFound`` when there is no run.

        >>> operator.contributions(finished)
        []
        """
        path = f"/runs/{run_id}/contributions"
        return self._list(c.RoundScoresRead, path, round=round_, limit=limit)

    def selections(
        self, run_id: int, round_: int | None = None, *, limit: int = 10
    ) -> list[c.SelectionRead]:
        """Whom the newest rounds chose, or one of them, and why. ``NotFound`` when there is no run.

        >>> operator.selections(finished)
        []
        """
        path = f"/runs/{run_id}/selections"
        return self._list(c.SelectionRead, path, round=round_, limit=limit)

    def metrics(self, run_id: int, name: str | None = None) -> list[c.MetricRead]:
        """Every value that was measured in a run, or those of one name. ``NotFound`` when there is no run.

        >>> [(m.round, m.value) for m in operator.metrics(finished, "accuracy")]
        [(1, 0.1)]
        """
        path, found = f"/runs/{run_id}/metrics", list[c.MetricRead]()
        while page := self._list(c.MetricRead, path, name=name, after=found[-1].id if found else 0):
            if found and page[-1].id <= found[-1].id:  # a server that gives all at once
                break
            found += page
        return found

    def explanations(self, run_id: int) -> list[c.ExplanationRead]:
        """What devices told of their explanations, by round and device.

        ``NotFound`` when there is no such run.

        >>> (found,) = operator.explanations(active)
        >>> found.device, found.scores
        ('pi', {'local/gradcam/deletion': 0.25})
        """
        return self._list(c.ExplanationRead, f"/runs/{run_id}/explanations")

    def download_explanation(self, run_id: int, device: str, picture: str, target: Path) -> Path:
        """A contact sheet that the device's owner let go, now in the PNG file ``target``.

        ``NotFound`` when there is none.

        >>> (found,) = operator.explanations(active)
        >>> operator.download_explanation(active, "pi", found.pictures[0], folder / "pi.png").name
        'pi.png'
        """
        return self._download(
            f"/runs/{run_id}/explanations/{require_name(device)}/{require_name(picture)}",
            target,
        )

    def stop_run(self, run_id: int) -> c.RunRead:
        """The run, which ends as soon as its engine and devices are quiet.

        ``NotFound`` when there is none, ``Conflict`` when it is over.

        >>> operator.stop_run(active).status.value
        'stopping'
        """
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/stop")

    def pause_run(self, run_id: int) -> c.RunRead:
        """The run, which can be resumed later.

        ``NotFound`` when there is none, ``Conflict`` when it is over or stopping.

        >>> operator.pause_run(active).status.value
        'pausing'
        """
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/pause")

    def resume_run(self, run_id: int) -> c.RunRead:
        """The run, which goes on after its last committed round.

        ``NotFound`` when there is none, ``Conflict`` when it is not paused.

        >>> run = operator.start_run("mnist", c.RunStart())
        >>> operator.pause_run(run.id).status.value
        'paused'
        >>> operator.resume_run(run.id).status.value
        'resuming'
        """
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/resume")

    def extend_run(self, run_id: int, body: c.RunExtend) -> c.RunRead:
        """A new run that adds rounds to one that is over.

        ``NotFound`` when there is none, ``Conflict`` while it or another run of its task goes on.

        >>> run = operator.extend_run(finished, c.RunExtend(rounds=4))
        >>> run.first_round, run.rounds, run.parent == finished
        (2, 5, True)
        """
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/extend", body)

    def retry_run(self, run_id: int, body: c.RunRetry | None = None) -> c.RunRead:
        """A new run that does what is left of one that failed or was stopped.

        ``NotFound`` when there is none, ``Conflict`` when it is completed, or a run of its task goes on.

        >>> run = operator.retry_run(stopped)
        >>> run.first_round, run.rounds, run.parent == stopped
        (2, 3, True)
        """
        return self._call(c.RunRead, "POST", f"/runs/{run_id}/retry", body or c.RunRetry())

    def events(self, *, after: int = 0, run_id: int | None = None) -> list[c.EventRead]:
        """What happened beyond the event ``after``, oldest first, on the whole server or in a run.

        >>> [event.name for event in operator.events(run_id=finished)][-2:]
        ['model.created', 'run.completed']
        """
        return self._list(c.EventRead, "/events", after=after, run_id=run_id)

    def run_logs(
        self,
        run_id: int,
        *,
        device: str | None = None,
        round: int | None = None,
        source: str | None = None,
        after: int = 0,
        limit: int = 200,
    ) -> c.LogPage:
        """What was logged in a run beyond ``after``, oldest first.

        ``NotFound`` when there is no such run or device.

        >>> page = operator.run_logs(active, device="pi", round=1)
        >>> [(entry.source, entry.text) for entry in page.entries]
        [('training_client', 'epoch 1 of 1')]
        """
        chosen = {"device": device, "round": round, "source": source}
        params = given({**chosen, "after": after, "limit": limit})
        return self._call(c.LogPage, "GET", f"/runs/{run_id}/logs", params=params)

    def download_checkpoint(self, run_id: int, round_: int, target: Path) -> Path:
        """The model that a round made, now in the file ``target``. ``NotFound`` when it is not kept.

        >>> from fedops.storage import tensors
        >>> file = operator.download_checkpoint(active, 1, folder / "round-1.safetensors")
        >>> tensors.load(file)["w"].tolist()
        [1.0, 1.0]
        """
        return self._download(f"/runs/{run_id}/rounds/{round_}/model", target)


class OperatorStudies(Client):
    """Studies: runs of a task that differ in their seed alone, one after another."""

    def forecast_run(self, task: str, body: c.RunStart) -> c.RunForecast:
        """What such a run would be: its devices, bytes and time. Nothing is started.

        ``NotFound`` when there is no such task or version, ``Invalid`` for wrong overrides.

        >>> found = operator.forecast_run("mnist", c.RunStart(overrides=["num_rounds=2"]))
        >>> found.rounds, found.asked, [(d.device, d.examples) for d in found.devices]
        (2, 2, [('jetson', 100), ('pi', 100)])
        """
        return self._call(c.RunForecast, "POST", f"/tasks/{require_name(task)}/runs/forecast", body)

    def start_study(self, task: str, body: c.StudyStart) -> c.StudyRead:
        """A new study, whose first run begins now.

        ``NotFound`` when there is no such task or version, ``Conflict`` when the task is archived or has a
        run going on, ``Invalid`` for wrong overrides.

        >>> study = operator.start_study("mnist", c.StudyStart(seeds=3))
        >>> study.seeds, [run.status.value for run in study.runs]
        ([7, 8, 9], ['pending'])
        """
        return self._call(c.StudyRead, "POST", f"/tasks/{require_name(task)}/studies", body)

    def studies(self, task: str | None = None, *, limit: int = 20) -> list[c.StudyRead]:
        """The newest studies, of all tasks or of one. ``NotFound`` when there is no such task.

        >>> operator.studies("mnist")
        []
        """
        return self._list(c.StudyRead, "/studies", task=task, limit=limit)

    def study(self, study_id: int) -> c.StudyRead:
        """A study and its runs. ``NotFound`` when there is none.

        >>> made = operator.start_study("mnist", c.StudyStart(seeds=[3, 1]))
        >>> operator.study(made.id).seeds
        [3, 1]
        """
        return self._call(c.StudyRead, "GET", f"/studies/{study_id}")

    def stop_study(self, study_id: int) -> c.StudyRead:
        """The study, which begins no more runs; the one that goes on is stopped.

        ``NotFound`` when there is none.

        >>> made = operator.start_study("mnist", c.StudyStart(seeds=2))
        >>> stopped = operator.stop_study(made.id)
        >>> stopped.text, [run.status.value for run in stopped.runs]
        ('stopped by the operator', ['stopped'])
        """
        return self._call(c.StudyRead, "POST", f"/studies/{study_id}/stop")
