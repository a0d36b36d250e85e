"""What an operator may do with the versions of a task's model."""

from __future__ import annotations

from pathlib import Path

from fedops.api_client.transport import FILE_SECONDS, Client, given, parse_list, request_of
from fedops.core import contracts as c
from fedops.core.contracts import require_name

#: Every version's file is read. Seconds.
_VERIFY_SECONDS = 3_600.0


class OperatorModels(Client):
    """Versions of a model: each is named by its number, as ``V3``, or by an alias such as ``latest``."""

    def models(self, task: str) -> list[c.ModelVersionRead]:
        """All versions of a task's model, oldest first. ``NotFound`` when there is no such task.

        >>> [(model.version, model.parent) for model in operator.models("mnist")]
        [(0, None), (1, 0)]
        """
        return self._list(c.ModelVersionRead, f"/tasks/{require_name(task)}/models")

    def model(self, task: str, version: str) -> c.ModelVersionRead:
        """One version, with its metrics and where it comes from. ``NotFound`` when there is none.

        >>> found = operator.model("mnist", "latest")
        >>> found.version, found.run_id == finished, found.metrics["accuracy"]
        (1, True, 0.1)
        """
        return self._call(
            c.ModelVersionRead,
            "GET",
            f"/tasks/{require_name(task)}/models/{require_name(version)}",
        )

    def verify_models(self, task: str | None = None) -> list[c.FileCheck]:
        """What the server finds in the file of every version. ``NotFound`` when there is no such task.

        >>> [check.version for check in operator.verify_models("mnist") if check.problem]
        []
        """
        params = given({"task": task})
        return parse_list(
            c.FileCheck, self._send("GET", "/models/verify", params=params, timeout=_VERIFY_SECONDS)
        )

    def compare_models(self, task: str, first: str, second: str) -> c.ModelComparison:
        """What differs between two versions.

        ``NotFound`` when one of them is not there, ``Unavailable`` when a file is damaged.

        >>> found = operator.compare_models("mnist", "V0", "V1")
        >>> found.identical, [(tensor.name, tensor.largest) for tensor in found.tensors]
        (False, [('w', 1.0)])
        """
        path = f"/tasks/{require_name(task)}/models/{require_name(first)}/compare/{require_name(second)}"
        return self._call(c.ModelComparison, "GET", path, timeout=FILE_SECONDS)

    def promote_model(self, task: str, version: str, alias: str = "serving") -> c.ModelVersionRead:
        """The version that the alias names from now on.

        ``NotFound`` when there is none, ``Invalid`` for what is no alias, ``Unavailable`` when its file is
        damaged.

        >>> operator.promote_model("mnist", "latest").aliases
        ['latest', 'serving']
        """
        path = f"/tasks/{require_name(task)}/models/{require_name(version)}/promote"
        body = c.Promotion(alias=alias)
        return self._call(c.ModelVersionRead, "POST", path, body, timeout=FILE_SECONDS)

    def rollback_alias(self, task: str, alias: str = "serving") -> c.ModelVersionRead:
        """The version that the alias named before, and names again.

        ``NotFound`` when there is no such alias, ``Conflict`` when it never named another version.

        >>> operator.promote_model("mnist", "V0").version
        0
        >>> operator.promote_model("mnist", "V1").version
        1
        >>> operator.rollback_alias("mnist").version
        0
        """
        return self._call(
            c.ModelVersionRead,
            "POST",
            f"/tasks/{require_name(task)}/aliases/{require_name(alias)}/rollback",
        )

    def quarantine_model(self, task: str, version: str, because: str) -> c.ModelVersionRead:
        """The version, which nothing goes on from any more: ``latest`` names the one before it.

        ``NotFound`` when there is none, ``Conflict`` for V0.

        >>> operator.quarantine_model("mnist", "V1", "trained on the wrong data").quarantine
        'trained on the wrong data'
        >>> operator.task("mnist").latest_version is None
        True
        """
        return self._judge(task, version, "quarantine", because)

    def release_model(self, task: str, version: str, because: str) -> c.ModelVersionRead:
        """The version, which may be used again. ``NotFound`` when there is none.

        >>> operator.quarantine_model("mnist", "V1", "a doubt").aliases
        []
        >>> operator.release_model("mnist", "V1", "it was the right data").aliases
        ['latest']
        """
        return self._judge(task, version, "release", because)

    def rebuild_model(
        self, task: str, version: str, without: str, last_round: bool = False
    ) -> c.RebuildRead:
        """The run that makes the version again without a device, and how.

        Of the kept updates of its last round, if the device's are in no other; else devices train anew, from
        the last version without its updates. ``last_round``: of the last round in any case.

        ``NotFound`` when there is no such version or device, ``Conflict`` when no update of the device is in
        it, or (``last_round``) when the round cannot be aggregated again; ``RunBusy`` while a run goes on.

        >>> found = operator.rebuild_model("mnist", "V1", without="pi")
        >>> found.aggregates_again, found.run.from_version
        (False, 0)
        """
        path = f"/tasks/{require_name(task)}/models/{require_name(version)}/rebuild"
        body = c.Rebuild(without=require_name(without), last_round=last_round)
        return self._call(c.RebuildRead, "POST", path, body, timeout=FILE_SECONDS)

    def _judge(self, task: str, version: str, what: str, because: str) -> c.ModelVersionRead:
        path = f"/tasks/{require_name(task)}/models/{require_name(version)}/{what}"
        return self._call(c.ModelVersionRead, "POST", path, request_of(c.Because, because=because))

    def aliases(self, task: str) -> list[c.AliasRead]:
        """The aliases of a task and what each named before. ``NotFound`` when there is no such task.

        >>> [(alias.name, alias.version) for alias in operator.aliases("mnist")]
        [('latest', 1)]
        """
        return self._list(c.AliasRead, f"/tasks/{require_name(task)}/aliases")

    def serving(self, task: str) -> list[c.ServingRead]:
        """The devices that serve a task's model, and which version. ``NotFound`` when there is no such task.

        >>> [(found.device, found.desired, found.actual) for found in operator.serving("mnist")]
        [('jetson', None, None), ('pi', None, None)]
        """
        return self._list(c.ServingRead, f"/tasks/{require_name(task)}/serving")

    def download_model(self, task: str, version: str, target: Path) -> Path:
        """A version's model, now in the safetensors file ``target``. ``NotFound`` when it is not there.

        >>> from fedops.storage import tensors
        >>> file = operator.download_model("mnist", "V1", folder / "model.safetensors")
        >>> tensors.load(file)["w"].tolist()
        [1.0, 1.0]
        """
        return self._download(
            f"/tasks/{require_name(task)}/models/{require_name(version)}/file", target
        )
