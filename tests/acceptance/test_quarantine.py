"""A device that spoils the model: its version is put aside, and made again without it."""

from __future__ import annotations

import pytest
from federating import LIGHT, complete, enrol, until

from fedops.core.errors import Conflict
from fedops.core.states import RunStatus
from fedops.demo.federation import Federation


def test_from_the_collapse_to_the_version_without_the_device(server: Federation) -> None:
    server.create_task("spoiled", LIGHT)
    enrol(server, ["good-1", "good-2"], "spoiled", app=LIGHT)
    first = complete(server, "spoiled", "num_rounds=3")
    assert (first.version, first.quarantine) == (1, None)
    enrol(server, ["evil"], "spoiled", faults={"evil": "flip"}, app=LIGHT)
    rounds = ["num_rounds=1", "clients_per_round=3", "server.limits.max_norm_ratio=0"]
    second = complete(server, "spoiled", *rounds)
    assert second.why.startswith("completed 1 round; V2 is quarantined: its loss is ")
    assert server.admin("model", "show", "spoiled")["version"] == 1
    with pytest.raises(Conflict, match="V2 of task 'spoiled' is quarantined"):
        server.admin("model", "promote", "spoiled", "V2")

    shut_out = server.admin("device", "quarantine", "evil", "--because", "it flips the model")
    assert [run["version"] for run in shut_out["touched"]] == [2]
    assert "fedops model rebuild spoiled V2 --without evil" in shut_out["next_steps"][0]
    found = server.admin("model", "rebuild", "spoiled", "V2", "--without", "evil")
    assert found["aggregates_again"]
    again = until(server, found["run"]["id"], RunStatus.COMPLETED)
    assert (again.version, again.quarantine) == (3, None)
    latest = server.admin("model", "show", "spoiled")
    assert latest["version"] == 3
    assert latest["lineage"]["devices"].keys() == {"good-1", "good-2"}
    assert (
        latest["metrics"]["loss"]
        < 2 * server.admin("model", "show", "spoiled", "V1")["metrics"]["loss"]
    )

    third = complete(server, "spoiled", "num_rounds=1")
    assert (third.from_version, third.version) == (3, 4)
    server.admin("device", "release", "evil", "--because", "its program was repaired")
    server.until_ready(["evil"])
