"""A commit is refused for what is wrong on every device, and for nothing that only a device can tell."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from git_repository import app_files

from fedops.config.loading import load_config, to_plain

pytest.importorskip("sklearn", reason="the app here uses scikit-learn")

#: One process for all of them: the frameworks are imported once.
PROGRAM = """
import json, sys
from pathlib import Path
from fedops.flower.checks.commit_check import CommitExamination
found = {}
for name, asked in json.loads(Path(sys.argv[1]).read_text()).items():
    kept = []
    report = CommitExamination(Path(asked["app_dir"]), asked["config"], kept.append).run()
    found[name] = {**report, "kept": len(kept)}
Path(sys.argv[2]).write_text(json.dumps(found))
"""
PARTS = "points/parts.py"
WITHOUT_DATA = app_files()[PARTS].replace("    rng =", "    open('/there/is/none')\n    rng =")
CASES: dict[str, dict[str, str]] = {
    "sound": {},
    "syntax": {PARTS: "def ("},
    "own module": {PARTS: "import points.nothing\n"},
    "own name": {PARTS: "from points.client_app import nothing\n"},
    "client app": {"points/client_app.py": "raise KeyError('x')\n"},
    "component": {"points/client_app.py": "app = server = None\n"},
    "ends": {PARTS: "import sys\nsys.exit('no')\n"},
    "two models": {
        PARTS: app_files()[PARTS].replace(
            "return SGDClassifier(", "import time\n    return SGDClassifier(alpha=time.time(), "
        )
        + "\ndef train(model, x, y):\n    return None\n"
    },
    "strategy": {
        "points/config.toml": app_files()["points/config.toml"]
        + "[server.strategy]\n_target_ = 'flwr.serverapp.strategy.Fedavg'\n"
    },
    "library": {PARTS: "import library_of_devices\n"},
    "no data": {PARTS: WITHOUT_DATA},
    "file of a device": {
        PARTS: WITHOUT_DATA.replace("def model():", "def model():\n    open('/none')")
    },
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("apps")
    question, answer, asked = place / "question.json", place / "answer.json", {}
    for name, changed in CASES.items():
        folder = place / name.replace(" ", "-")
        for path, text in {**app_files(), **changed}.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        config = to_plain(load_config(folder / "points" / "config.toml"))
        asked[name] = {"app_dir": str(folder), "config": config}
    question.write_text(json.dumps(asked))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(question), str(answer)],
        capture_output=True,
        check=False,
    )
    assert answer.is_file(), done.stderr.decode()[-3_000:]
    found: dict[str, Any] = json.loads(answer.read_text())
    return found


def test_a_sound_commit_is_tried_up_to_a_round(reports: dict[str, Any]) -> None:
    report = reports["sound"]
    assert (report["problems"], report["notes"], report["ok"]) == ([], [], True)
    assert len(report["fingerprint"]) == 16
    assert report["examples"] > 0
    assert report["metrics"]
    assert report["kept"] == 2  # before the round, and after it


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("syntax", "SyntaxError: "),
        ("own module", "No module named 'points.nothing' (points/parts.py, line 1)"),
        ("own name", "cannot import name 'nothing' from 'points.client_app'"),
        ("client app", "clientapp = \"points.client_app:app\": KeyError: 'x'"),
        ("component", "is a NoneType, and must be a flwr.clientapp.ClientApp"),
        ("ends", "ended the process that imported it"),
        ("strategy", "did you mean 'FedAvg'"),
    ],
)
def test_what_is_wrong_everywhere_is_a_problem(
    reports: dict[str, Any], case: str, words: str
) -> None:
    (problem,) = reports[case]["problems"]
    assert words in problem
    assert "/tmp" not in problem
    assert not reports[case]["ok"]


@pytest.mark.parametrize(
    ("case", "words", "built"),
    [
        (
            "library",
            "not imported here: No module named 'library_of_devices'; the canary tells",
            False,
        ),
        ("no data", "no data of the app can be had on the server", True),
        ("file of a device", "not judged here: ", False),
    ],
)
def test_what_only_a_device_can_tell_is_noted(
    reports: dict[str, Any], case: str, words: str, built: bool
) -> None:
    report = reports[case]
    assert (report["problems"], report["ok"]) == ([], True)
    assert words in report["notes"][-1]
    assert bool(report.get("fingerprint")) is built
