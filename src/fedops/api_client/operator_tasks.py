"""What an operator may do with app bundles and tasks."""

from __future__ import annotations

from pathlib import Path

from fedops.api_client.transport import Client
from fedops.core import contracts as c
from fedops.core.contracts import require_name


class OperatorTasks(Client):
    """App bundles, and the tasks that are made of them."""

    def upload_bundle(self, file: Path, commit: str | None = None) -> c.BlobRef:
        """Digest and size of an app bundle that is now on the server. ``Invalid`` when it is none.

        ``commit``: the Git commit that the app's files were at.

        >>> ref = operator.upload_bundle(folder / "app.zip", commit="0123abc")
        >>> ref.size == (folder / "app.zip").stat().st_size
        True
        """
        return self._upload("/bundles", file, commit=commit)

    def create_task(self, body: c.TaskCreate) -> c.TaskRead:
        """A new task of an uploaded bundle.

        ``Conflict`` when its name is taken, ``Invalid`` when the bundle is not there or the config is wrong.

        >>> ref = operator.upload_bundle(folder / "app.zip")
        >>> body = c.TaskCreate(name="letters", bundle=ref.sha256, overrides=["num_rounds=5"])
        >>> operator.create_task(body).config["num_rounds"]
        5
        """
        return self._call(c.TaskRead, "POST", "/tasks", body)

    def update_task(self, task: str, body: c.TaskUpdate) -> c.TaskRead:
        """The task as later runs will use it.

        ``NotFound`` when there is none, ``Conflict`` once it is archived, ``Invalid`` for a wrong config.

        >>> operator.update_task("mnist", c.TaskUpdate(overrides=["num_rounds=9"])).config["num_rounds"]
        9
        """
        return self._call(c.TaskRead, "PATCH", f"/tasks/{require_name(task)}", body)

    def task_contributions(self, name: str) -> c.ContributionsRead:
        """Each client over all scored rounds of a task. ``NotFound`` when there is no such task.

        >>> operator.task_contributions("mnist").clients
        []
        """
        path = f"/tasks/{require_name(name)}/contributions"
        return self._call(c.ContributionsRead, "GET", path)

    def start_benches(self, name: str, body: c.BenchRequest) -> c.BenchesRead:
        """The benchmarks that go on now, and the devices that are left out, with the reasons.

        ``NotFound`` when there is no such task, or a device that is named takes no part in it; ``Conflict``
        once the task is archived.

        >>> found = operator.start_benches("mnist", c.BenchRequest(devices=["pi"], fraction=0.05))
        >>> [(one.device, one.fraction, one.status.value) for one in found.benches]
        [('pi', 0.05, 'offered')]
        """
        path = f"/tasks/{require_name(name)}/benches"
        return self._call(c.BenchesRead, "POST", path, body)

    def benches(self, name: str) -> c.BenchesRead:
        """The last benchmark of each device of a task. ``NotFound`` when there is no such task.

        >>> operator.benches("mnist").benches
        []
        """
        return self._call(c.BenchesRead, "GET", f"/tasks/{require_name(name)}/benches")

    def archive_task(self, task: str) -> c.TaskRead:
        """The task, which takes no new run from now on.

        ``NotFound`` when there is none, ``Conflict`` while a run of it goes on.

        >>> operator.archive_task("mnist").status.value
        'archived'
        """
        return self._call(c.TaskRead, "POST", f"/tasks/{require_name(task)}/archive")

    def unarchive_task(self, task: str) -> c.TaskRead:
        """The task, which takes runs again. ``NotFound`` when there is none.

        >>> archived = operator.archive_task("mnist")
        >>> operator.unarchive_task("mnist").status.value
        'ready'
        """
        return self._call(c.TaskRead, "POST", f"/tasks/{require_name(task)}/unarchive")

    def delivery(self, task: str) -> c.DeliveryRead:
        """A task's source, commits and rollout, and what each of its devices runs and why.

        ``NotFound`` when there is no such task.

        >>> found = operator.delivery("mnist")
        >>> found.runs_use[:7], [(one.device, one.synced) for one in found.deployments]
        ('ccccccc', [('jetson', True), ('pi', True)])
        """
        return self._call(c.DeliveryRead, "GET", f"/tasks/{require_name(task)}/delivery")

    def rollouts(self, task: str) -> list[c.RolloutRead]:
        """The newest rollouts of a task's commits, the newest first. ``NotFound`` when there is no such task.

        >>> operator.rollouts("mnist")
        []
        """
        return self._list(c.RolloutRead, f"/tasks/{require_name(task)}/rollouts")

    def start_rollout(self, task: str, body: c.RolloutStart) -> c.RolloutRead:
        """The rollout of a commit of a task's source, which begins now.

        ``NotFound`` when there is no such task or commit, ``Conflict`` when the commit was not found sound,
        or was stopped before and is not to be tried ``again``.

        >>> found = operator.start_rollout("mnist", c.RolloutStart())
        >>> found.commit[:7], found.status.value, found.policy.canary
        ('ccccccc', 'pending', '1')
        """
        path = f"/tasks/{require_name(task)}/rollouts"
        return self._call(c.RolloutRead, "POST", path, body)

    def decide_rollout(self, task: str, body: c.RolloutDecision) -> c.DeliveryRead:
        """The delivery of a task after a decision about the rollout that goes on.

        ``NotFound`` when there is no such task, ``Conflict`` when there is nothing to decide.

        >>> begun = operator.start_rollout("mnist", c.RolloutStart())
        >>> operator.decide_rollout("mnist", c.RolloutDecision(decision="pause")).rollout.status.value
        'paused'
        """
        path = f"/tasks/{require_name(task)}/rollouts/decision"
        return self._call(c.DeliveryRead, "POST", path, body)

    def tasks(self) -> list[c.TaskRead]:
        """All tasks, the archived ones too.

        >>> sorted(task.name for task in operator.tasks())
        ['digits', 'mnist']
        """
        return self._list(c.TaskRead, "/tasks")

    def task(self, task: str) -> c.TaskRead:
        """One task by its name. ``NotFound`` when there is none.

        >>> found = operator.task("mnist")
        >>> found.latest_version, found.active_run is None
        (1, True)
        """
        return self._call(c.TaskRead, "GET", f"/tasks/{require_name(task)}")
