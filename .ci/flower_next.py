"""Runs the tests of what FedOps uses of Flower against the newest Flower that installs.

Called by ``make flower-next`` with the Python of a virtual environment of its own: FedOps' other
requirements, no ML framework, and none of the versions in constraints.txt.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "tests/contract/test_flower_names.py",
    "tests/contract/test_strategies.py",
    "tests/unit/flower",
)


def requirements() -> list[str]:
    """What FedOps needs, with whichever Flower is the newest, and what the tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    ours = [line for line in project["dependencies"] if not line.startswith("flwr")]
    tests = [line for line in extras["dev"] if line.startswith(("pytest", "hypothesis"))]
    return ["flwr", *ours, *extras["s3"], *tests]


def main() -> int:
    """The exit code of pytest. Further arguments are its own."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "--upgrade-strategy", "eager", *requirements()], check=True)
    subprocess.run([*pip, "--no-deps", "--editable", str(ROOT)], check=True)
    sys.stdout.write(f"flower-next: flwr {version('flwr')}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "pytest", "-rs", *(sys.argv[1:] or TESTS)]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
