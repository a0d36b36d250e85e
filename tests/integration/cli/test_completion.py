"""What the TAB key offers of what a server has."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from click.shell_completion import ShellComplete
from managing import managing

from fedops.cli.main import app


def offered(words: list[str], begun: str = "") -> list[str]:
    completing = ShellComplete(typer.main.get_command(app), {}, "fedops", "_FEDOPS_COMPLETE")
    return [item.value for item in completing.get_completions(words, begun)]


def test_tasks_devices_and_runs_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with managing(tmp_path) as world:
        token = world.manager.services.settings.admin_token_file.read_text().strip()
        monkeypatch.setenv("FEDOPS_SERVER", world.url)
        monkeypatch.setenv("FEDOPS_TOKEN", token)
        world.task()
        world.ready_devices("pi-1", "pi-2", "ward")
        run, _ = world.running()
        assert offered(["task", "show"]) == ["mnist"]
        assert offered(["device", "show"], "pi") == ["pi-1", "pi-2"]
        assert offered(["run", "list", "--task"], "m") == ["mnist"]
        assert offered(["run", "why"]) == [str(run.id)]
    assert offered(["task", "show"]) == [], "nobody answers, and nothing is said"
