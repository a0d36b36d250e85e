"""FedOps 1 projects: what ``fedops init`` reads, that they train as they did, and what cannot be had."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from old_project_files import CONFIG, write_old_project

from fedops.config.loading import read_toml
from fedops.core.errors import Conflict, Invalid
from fedops.flower.app_package import build_bundle
from fedops.scalize.check.project_check import check_project
from fedops.scalize.discovery.source.source_files import python_files
from fedops.scalize.legacy.migration import Migration, propose_migration, write_migration
from fedops.scalize.legacy.old_files import is_old_project
from fedops.server.tasks.app_bundles import read_bundle

YAML_KEY = 'key: "***"'
pytest.importorskip("torch", reason="the project here uses PyTorch")


def proposed(project: Path) -> Migration:
    return propose_migration(project, python_files(project))


def files_in(project: Path) -> set[str]:
    found = (p.relative_to(project).as_posix() for p in project.rglob("*") if p.is_file())
    return {name for name in found if not name.startswith("federated/")}


def test_it_is_recognised_and_its_config_becomes_ours(tmp_path: Path) -> None:
    project = write_old_project(tmp_path / "points")
    assert is_old_project(project)
    plan = proposed(project)
    assert plan.config["server"]["strategy"]["min_fit_clients"] == 1
    assert plan.config["exchange"] == {"local": ["*bn*"]}
    assert "wandb" not in plan.config
    said = "\n".join(plan.lines())
    for words in ("conf/config.yaml:11: 'seq_len' is read", "client_manager_main.py: not needed"):
        assert words in said
    assert plan.problems == ()


def test_its_app_has_a_name_that_a_task_can_have(tmp_path: Path) -> None:
    plan = proposed(write_old_project(tmp_path / "7 points of a long and winding name"))
    assert len(plan.name) <= 32
    assert plan.name[0].isalpha()


def test_it_trains_as_it_did_and_nothing_is_written_beside_its_app(tmp_path: Path) -> None:
    project = write_old_project(tmp_path / "points")
    before = files_in(project)
    write_migration(proposed(project))
    report = check_project(project, seconds=60, program="fedops.flower.trial.check_program")
    assert report.ok, report.problems
    assert report.examples == 48
    assert {row.name for row in report.parameters if not row.federated} >= {"bn1.weight"}
    assert report.metrics["seen"] == 16.0
    assert files_in(project) == before


#: One round by FedOps 2's steps, and the same by FedOps 1's own program with our stand-in beside it.
SAME = """
import sys, runpy, torch
sys.path[:0] = [{federated!r}, {project!r}]
from pathlib import Path
from types import SimpleNamespace
from fedops.scalize.flow.project import Project
from fedops.scalize.legacy.old_project import OldProject
from fedops.scalize.legacy import stand_ins

project = Project.open(Path({federated!r}))
config = project.config
old = OldProject()
data = old.data(config)
import models
torch.manual_seed(7); mine = models.Net(2); theirs = models.Net(2); theirs.load_state_dict(mine.state_dict())
torch.manual_seed(8); old.train(mine, data.train, 2, 0.05, config)

quiet = ["wandb.use=false", "hydra.output_subdir=null", "hydra.run.dir={hydra}"]
with stand_ins.running([{project!r} + "/client_main.py", *quiet]) as taken:
    runpy.run_path({project!r} + "/client_main.py", run_name="__main__")
found = taken.client
torch.manual_seed(8); found["train_torch"](theirs, found["train_loader"], 2, found["cfg"])
assert all(torch.equal(a, b) for a, b in zip(mine.state_dict().values(), theirs.state_dict().values()))
judged = old.evaluate(mine, data.validation, config)
assert judged["accuracy"] == found["test_torch"](theirs, found["test_loader"], found["cfg"])[1]
assert len(old.validation(config).dataset) == 80
import fedops.server
assert "fedops.server.app" not in sys.modules
try:
    from fedops.client.client_utils import load_model
except ImportError as error:
    assert "is not in FedOps 2" in str(error)
"""


def test_a_round_has_the_same_bits_as_by_its_own_program(tmp_path: Path) -> None:
    project = write_old_project(tmp_path / "points")
    write_migration(proposed(project))
    text = SAME.format(
        project=str(project), federated=str(project / "federated"), hydra=str(tmp_path / "hydra")
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-c", text],
        env=env,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-2_000:]


def test_its_bundle_has_its_code_and_config(tmp_path: Path) -> None:
    project = write_old_project(tmp_path / "points")
    write_migration(proposed(project))
    file = tmp_path / "app.fab"
    file.write_bytes(build_bundle(project / "federated"))
    assert read_bundle(file).config.num_epochs == 2
    with zipfile.ZipFile(file) as bundle:
        carried = bundle.read("carried/conf/config.yaml").decode()
    assert "not-a-real-key" not in carried
    assert YAML_KEY in carried
    assert "project: '${dataset.name}_${task_id}'" in carried


def test_what_it_needs_and_cannot_have_is_named_with_its_line(tmp_path: Path) -> None:
    project = write_old_project(tmp_path / "points")
    data = project / "data_preparation.py"
    data.write_text("from fedops.utils.fedco.datasetting import build_parts\n" + data.read_text())
    (project / "models.py").write_text("import torch\nfrom fedops.utils.fedxai.gradcam import X\n")
    problems = proposed(project).problems
    assert [problem.partition(" ")[0] for problem in problems] == [
        "data_preparation.py:1:",
        "models.py:2:",
    ]
    assert "[dataset.partition] in config.toml divides the data" in problems[0]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("model_type: 'Pytorch'", "model_type: 'Huggingface'", "FedOps 2 trains Transformers"),
        ("  _target_: models.Net\n", "", "names no _target_"),
        ("num_epochs: 2", "num_epochs: many", "num_epochs"),
        ("random_seed: 42", "random_seed: [", "cannot be read"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, old: str, new: str, words: str) -> None:
    project = write_old_project(tmp_path / "points")
    (project / "conf" / "config.yaml").write_text(CONFIG.replace(old, new))
    with pytest.raises(Invalid) as refused:
        proposed(project)
    assert words in refused.value.message


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    project = write_old_project(tmp_path / "points")
    write_migration(proposed(project))
    with pytest.raises(Conflict):
        write_migration(proposed(project))
    assert read_toml(project / "federated" / "config.toml")["batch_size"] == 8


def test_another_project_is_none(tmp_path: Path) -> None:
    project = write_old_project(tmp_path / "points")
    (project / "client_main.py").write_text("import os\n" + os.linesep)
    assert not is_old_project(project)
