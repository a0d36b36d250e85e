"""What the tests of rounds share: devices, configs, and what a commit says."""

from collections.abc import Callable
from typing import Any

from in_memory_federation import InMemoryFederation, Work

from fedops.core.contracts import ParticipationReport, RoundCommit
from fedops.storage.tensors import Tensors

THREE = ["pi-1", "pi-2", "pi-3"]
AT_LEAST_ONE = {"strategy": {"_target_": "FedAvg", "min_fit_clients": 1}}
AT_LEAST_TWO = {"strategy": {"_target_": "FedAvg", "min_fit_clients": 2}}
Make = Callable[..., InMemoryFederation]


def rounds_of(**policy: Any) -> dict[str, Any]:
    return {"round": policy}


def same(one: Tensors, other: Tensors) -> bool:
    return {k: a.tobytes() for k, a in sorted(one.items())} == {
        k: a.tobytes() for k, a in sorted(other.items())
    }


def model(federation: InMemoryFederation, commit: int = -1) -> Tensors:
    return federation.server.tensors(federation.server.commits[commit].model)


def participation(commit: RoundCommit, device: str) -> ParticipationReport:
    return next(p for p in commit.participations if p.device == device)


def silent(work: Work) -> None:
    return None
