"""``fedops check`` on projects with one thing wrong each: one message that names the place."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from warm_module import warm_modules

from fedops.scalize.check.project_check import PROGRAM, CheckReport, check_project
from fedops.scalize.discovery.scaffold import init_project
from fedops.waiting import wait_until

pytest.importorskip("sklearn", reason="the projects here use scikit-learn")

GOOD = """\
import numpy as np
from sklearn.linear_model import SGDClassifier

def load_data():
    x = np.random.default_rng(1).random((60, 4))
    y = (x[:, 0] > 0.5).astype(int)
    return x[:40], y[:40], x[40:], y[40:]

def make_model():
    return SGDClassifier(loss="log_loss", random_state=0)

def train(model, x, y):
    model.fit(x, y)

def evaluate(model, x, y):
    return {"accuracy": model.score(x, y)}
"""

PICTURES = """\
import torch
from torch import nn
from torch.utils.data import TensorDataset

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 4, 3)
        self.conv2 = nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.conv2(torch.relu(self.conv1(x))).mean((2, 3)))

def load_data():
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    y = (x[:, 0, 0, 0] > 0.5).long()
    return TensorDataset(x[:40], y[:40]), TensorDataset(x[40:], y[40:])
"""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What examines a project, with the frameworks loaded once."""
    loaded = ("torch", "sklearn.linear_model", "sklearn.neural_network", PROGRAM)
    with warm_modules(tmp_path_factory.mktemp("warm"), *loaded) as env:
        yield env


@pytest.fixture(autouse=True)
def _is_warm(warm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in warm.items():
        monkeypatch.setenv(name, value)


def _examined(project: Path) -> CheckReport:
    """The project checked for what it is; how it is run and ended is for ``check_project`` as it is."""
    return check_project(project, program="warm_check")


def _made(tmp_path: Path, text: str = GOOD) -> Path:
    """A sound project, proposed and written; then its code becomes ``text``."""
    project = tmp_path / "flowers"
    project.mkdir()
    (project / "flowers.py").write_text(GOOD)
    init_project(project)
    (project / "flowers.py").write_text(text)
    return project


def _checked(tmp_path: Path, old: str = "", new: str = "") -> CheckReport:
    assert old in GOOD
    return _examined(_made(tmp_path, GOOD.replace(old, new, 1) if old else GOOD))


def _only_problem(report: CheckReport) -> str:
    assert not report.ok
    assert len(report.problems) == 1, report.problems
    return report.problems[0]


def test_a_sound_project(tmp_path: Path) -> None:
    report = check_project(_made(tmp_path))
    assert report.problems == []
    assert report.ok
    assert report.app == "flowers-federated"
    assert report.resumes is False  # its train function is its own
    assert [step.split(":")[0] for step in report.steps] == [
        "data",
        "model",
        "train",
        "evaluate",
        "validation",
    ]
    assert {p.name: p.federated for p in report.parameters} == {
        "coef_": True,
        "intercept_": True,
        "t_": True,
    }
    assert report.parameters[0].model_dump() == {
        "name": "coef_",
        "shape": [1, 4],
        "dtype": "float64",
        "federated": True,
    }
    assert report.examples == 40
    assert 0 < report.seconds < 60
    assert report.bytes_per_round > 2 * 6 * 8
    assert "features = 4 and classes = [0, 1]" in report.notes[0]
    assert json.loads(report.model_dump_json())["ok"] is True


def test_the_app_is_found_by_the_projects_folder_or_its_own(tmp_path: Path) -> None:
    project = _made(tmp_path)
    by_project, by_app = check_project(project), check_project(project / "federated")
    assert by_project.fingerprint == by_app.fingerprint != ""
    assert "make one with: fedops init" in _only_problem(check_project(tmp_path))
    assert "there is no folder" in _only_problem(check_project(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("def load_data", "def lade_daten", ["[tool.fedops.flow] data", "'flowers'", "load_data"]),
        (
            "import numpy as np",
            "import numpy as np\nimport nonesuch",
            ["importing 'flowers' failed", "No module named 'nonesuch'", "flowers.py, line 2"],
        ),
        (
            "import numpy",
            "def half(:\nimport numpy",
            ["importing 'flowers' failed", "flowers.py, line 1"],
        ),
        ("    model.fit(x, y)", "    raise ValueError('too warm')", ["too warm", "line 13"]),
        ("    model.fit(x, y)", "    pass", ["training changed no tensor that travels"]),
        (
            "    model.fit(x, y)",
            "    make_model().fit(x, y)",
            ["training changed no tensor", "not one of its own"],
        ),
        (
            "return SGDClassifier",
            "return str('SGDClassifier') or SGDClassifier",
            ["make_model", "gave a str"],
        ),
        ("return x[:40]", "return None  # x[:40]", ["load_data", "returned nothing"]),
        ("return x[:40], y[:40]", "return x[:0], y[:0]", ["no training example", "load_data"]),
        (
            'return {"accuracy": model.score(x, y)}',
            "print(model.score(x, y))",
            ["evaluate", "returned nothing"],
        ),
        (
            "def train(model, x, y):",
            "def train(model, x, y, temperature):",
            ["nothing to pass for its parameter 'temperature'", "line 12"],
        ),
        (
            "return SGD",
            "from sklearn.tree import DecisionTreeClassifier as T\n    return T() or SGD",
            ["DecisionTreeClassifier", "cannot be averaged"],
        ),
        ("def load_data", "raise SystemExit(3)\ndef load_data", ["ended the process", "line 4"]),
    ],
)
def test_one_thing_wrong(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    problem = _only_problem(_checked(tmp_path, old, new))
    for word in words:
        assert word in problem, problem


def test_a_model_built_differently_each_time(tmp_path: Path) -> None:
    wild = 'SGDClassifier(loss="log_loss", random_state=0)'
    text = GOOD.replace(
        f"return {wild}",
        "import os\n    from sklearn.neural_network import MLPClassifier\n"
        "    return MLPClassifier((3 + os.urandom(1)[0],), max_iter=2)",
    )
    problem = _only_problem(_examined(_made(tmp_path, text)))
    assert "two builds of the model differ: 'coefs_.0': float64[4, " in problem


def test_weights_that_no_seed_decides(tmp_path: Path) -> None:
    text = GOOD.replace(
        'return SGDClassifier(loss="log_loss", random_state=0)',
        "import os\n    from sklearn.neural_network import MLPClassifier\n"
        "    return MLPClassifier((3,), max_iter=2, random_state=int.from_bytes(os.urandom(3), 'big'))",
    )
    problem = _only_problem(_examined(_made(tmp_path, text)))
    assert "two builds of the model with one seed differ in 'coefs_.0'" in problem


def test_a_typo_in_the_config(tmp_path: Path) -> None:
    project = _made(tmp_path)
    config = project / "federated" / "config.toml"
    config.write_text(config.read_text().replace("num_rounds", "num_round"))
    problem = _only_problem(_examined(project))
    assert "num_round" in problem
    assert "did you mean 'num_rounds'" in problem
    assert "config.toml" in problem


TIED = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.Linear(8, 4, bias=False)
        self.mid = nn.Linear(4, 8)
        self.dec = nn.Linear(8, 4, bias=False)
        self.dec.weight = self.enc.weight

    def forward(self, x):
        return self.dec(torch.relu(self.mid(self.enc(x))))


def load_data():
    x, y = torch.randn(64, 8), torch.arange(64) % 4
    return TensorDataset(x[:48], y[:48]), TensorDataset(x[48:], y[48:])
"""


def test_tied_weights_are_noted(tmp_path: Path) -> None:
    (tmp_path / "tied.py").write_text(TIED)
    init_project(tmp_path)
    report = _examined(tmp_path)
    assert report.ok, report.problems
    assert any("'dec.weight' is the same tensor as 'enc.weight'" in n for n in report.notes)
    assert any("safetensors.torch.load_model" in note for note in report.notes)


def test_training_that_cannot_be_repeated_is_noted(tmp_path: Path) -> None:
    report = _checked(
        tmp_path,
        "    model.fit(x, y)",
        "    import os\n    model.random_state = os.urandom(1)[0]\n    model.fit(x, y)",
    )
    assert report.ok
    assert any("two different models" in note for note in report.notes)


def test_a_project_that_trains_when_imported_is_ended(tmp_path: Path) -> None:
    project = _made(tmp_path, "import threading\nthreading.Event().wait()\n")
    problem = _only_problem(check_project(project, seconds=6))
    assert "did not end within 6 s" in problem
    assert '__name__ == "__main__"' in problem


def test_what_the_project_started_is_ended_with_the_check(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    start = (
        "import subprocess, sys\nfrom pathlib import Path\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
        f"start_new_session=True)\nPath({str(note)!r}).write_text(str(p.pid))\n"
    )
    assert check_project(_made(tmp_path, start + GOOD)).ok
    assert _is_gone(int(note.read_text()))


#: Writes its own number into a file, and that of a process that has left its session and its parent.
DETACHED = """
import os, subprocess, sys, threading
from pathlib import Path

code = "import subprocess, sys; n = subprocess.DEVNULL; "
code += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], "
code += "start_new_session=True, stdout=n, stderr=n); print(p.pid)"
pid = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
Path(NOTE).write_text(f"{os.getpid()} {pid}")
threading.Event().wait()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_check_that_is_ended_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    note = tmp_path / "pids"
    project = _made(tmp_path, DETACHED.replace("NOTE", repr(str(note))))
    command = [sys.executable, "-m", "fedops.cli", "check", str(project)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as check:
        begun = wait_until(lambda: note.exists() and note.read_text(), 60.0, every=0.05)
        check.send_signal(number)
    assert begun
    pids = [int(word) for word in note.read_text().split()]
    assert len(pids) == 2
    assert all(_is_gone(pid) for pid in pids)


def _is_gone(pid: int) -> bool:
    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    return wait_until(gone, 10.0, every=0.05)


def test_what_the_project_prints_and_does_stays_there(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    here = Path.cwd()
    report = check_project(
        _made(
            tmp_path,
            "import os, sys\nprint('LOUD'); sys.stderr.write('LOUD')\n"
            "assert os.getcwd().endswith('flowers')\nassert sys.argv[1:] == []\n" + GOOD,
        )
    )
    assert report.problems == []
    assert capfd.readouterr() == ("", "")
    assert Path.cwd() == here
    assert not list(tmp_path.rglob("__pycache__"))


def test_a_process_that_dies_without_a_word(tmp_path: Path) -> None:
    text = "import os, sys\nprint('the end is near', flush=True)\nos._exit(9)\n"
    problem = _only_problem(check_project(_made(tmp_path, text)))
    assert "ended with code 9" in problem
    assert "the end is near" in problem


def test_the_environment_is_the_one_that_training_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_DIR", "60")
    monkeypatch.setenv("MY_TOKEN", "nobody-sees-me")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("FEDOPS_TOKEN", "fo_admin_0123456789")
    (tmp_path / "beside.py").write_text("NUMBER = 1\n")
    text = (
        "import os, beside\nassert os.environ['DATASET_DIR'] == '60' and 'FEDOPS_TOKEN' not in os.environ\n"
        f"{GOOD}\nraise RuntimeError(os.environ['MY_TOKEN'])\n"
    )
    problem = _only_problem(check_project(_made(tmp_path, text)))
    assert "RuntimeError: ***" in problem


def _commanded(project: Path) -> CheckReport:
    """What ``fedops check`` says, which knows the round engine too."""
    done = subprocess.run(
        [sys.executable, "-m", "fedops.cli", "check", str(project), "--json"],
        capture_output=True,
        text=True,
    )
    report = CheckReport.model_validate_json(done.stdout)
    assert done.returncode == (0 if report.ok else 1), done.stderr
    return report


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        ("FedAvgg", ["no strategy 'FedAvgg'", "did you mean 'FedAvg'"]),
        ('FedAvg"\nfraction_trian = "0.5', ["fraction_trian", "did you mean 'fraction_train'"]),
    ],
)
def test_a_strategy_that_there_is_not(tmp_path: Path, strategy: str, words: list[str]) -> None:
    project = _made(tmp_path)
    config = project / "federated" / "config.toml"
    config.write_text(config.read_text().replace("strategy.FedAvg", f"strategy.{strategy}"))
    problem = _only_problem(_commanded(project))
    assert "[server.strategy]" in problem
    assert [word for word in words if word not in problem] == []


@pytest.mark.parametrize(
    ("xai", "words"),
    [
        ("layer = 'conv9'", ["[xai]", "conv9", "conv2", "xai.enabled = false"]),
        ("methods = ['gradcamm']", ["gradcamm", "gradcam"]),
        ("layer = 'conv1'", []),
    ],
)
def test_explanations_that_cannot_be_made(tmp_path: Path, xai: str, words: list[str]) -> None:
    pytest.importorskip("captum", reason="explanations need it")
    project = tmp_path / "pictures"
    project.mkdir()
    (project / "pictures.py").write_text(PICTURES)
    init_project(project)
    config = project / "federated" / "config.toml"
    config.write_text(config.read_text() + f"\n[xai]\nenabled = true\n{xai}\n")
    before = sorted(project.rglob("*"))
    report = _commanded(project)
    if words:
        problem = _only_problem(report)
        assert [word for word in words if word not in problem] == []
    else:
        assert report.problems == []
        assert report.resumes is True
    made = {path.name for path in project.rglob("*") if path not in before}
    assert {name for name in made if "pycache" not in name and not name.endswith(".pyc")} == set()


def test_a_metric_that_is_not_kept_is_named(tmp_path: Path) -> None:
    told = 'return {"accuracy": model.score(x, y), "confusion": np.eye(2), "each": {"a": 0.5}}'
    text = GOOD.replace('return {"accuracy": model.score(x, y)}', told)
    report = _examined(_made(tmp_path, text))
    assert report.ok, report.problems
    assert report.metrics["each.a"] == 0.5
    (note,) = [note for note in report.notes if "metric" in note]
    assert note == (
        "the metric 'confusion' is a ndarray of shape [2, 2]: only numbers, and lists and dicts of numbers, "
        "are kept"
    )
