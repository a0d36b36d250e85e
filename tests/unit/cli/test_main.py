"""The command line as a whole: its help, its exit codes, its messages."""

import errno
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
import typer
from click.shell_completion import ShellComplete
from rich.table import Table

from fedops.cli.main import COMMANDS, app, main
from fedops.cli.output import show
from fedops.core.errors import KINDS, FedOpsError


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command ``fail`` that raises what is put into the list."""
    errors: list[BaseException] = []
    app = typer.Typer(add_completion=False)

    @app.command()
    def fail(as_json: bool = typer.Option(False, "--json")) -> None:
        raise errors[0]

    module = type(sys)("failing_command")
    module.app = app  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "failing_command", module)
    monkeypatch.setitem(COMMANDS, "fail", ("failing_command", "Fails."))
    return errors


def test_help_fits_one_screen(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, "--help")
    lines = out.splitlines()
    assert code == 0
    assert len(lines) <= 24
    assert max(len(line) for line in lines) <= 80
    assert all(f"  {name} " in out for name in COMMANDS)


def commands() -> list[list[str]]:
    """Every command that there is, in words."""
    found = []
    for name in COMMANDS:
        command = typer.main.get_command(importlib.import_module(COMMANDS[name][0]).app)
        found.append([name])
        found += (
            [[name, sub] for sub in command.commands] if isinstance(command, click.Group) else []
        )
    return found


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_help_is_plain_and_fits(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(capsys, *words, "--help")
    assert code == 0
    assert out.startswith(f"Usage: fedops {' '.join(words)} ")
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "╭" not in out
    assert "\\[" not in out
    assert "..." not in out.partition("Commands:")[2], "each is shown with its whole sentence"


def test_what_is_in_brackets_is_part_of_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "client", "run", "--help")
    assert "[dataset], [resources], [wandb], [xai]" in out
    _, out, _ = run(capsys, "device", "quarantine", "--help")
    assert "[required]" in out


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        ([], "mo", ["model"]),
        (["run"], "st", ["start", "stop"]),
        (["run", "stop"], "--wa", ["--wait"]),
        (["tsak"], "li", []),
    ],
)
def test_the_tab_key_offers_what_fits(words: list[str], begun: str, offered: list[str]) -> None:
    completing = ShellComplete(typer.main.get_command(app), {}, "fedops", "_FEDOPS_COMPLETE")
    assert [item.value for item in completing.get_completions(words, begun)] == offered


def test_help_imports_no_command() -> None:
    program = (
        "import sys\n"
        "from fedops.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'httpx', 'numpy', 'flwr', 'torch', 'jinja2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def leaves_of(command: click.Command) -> Iterator[click.Command]:
    if not isinstance(command, click.Group):
        yield command
        return
    for inner in command.commands.values():
        yield from leaves_of(inner)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_json_and_explains_all_it_takes(name: str) -> None:
    command = typer.main.get_command(importlib.import_module(COMMANDS[name][0]).app)
    for leaf in leaves_of(command):
        assert leaf.help, leaf
        assert any("--json" in parameter.opts for parameter in leaf.params), leaf
        assert all(getattr(parameter, "help", None) for parameter in leaf.params), leaf


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_error_has_its_exit_code(
    kind: str, capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(KINDS[kind]("no such thing; make one"))
    code, out, err = run(capsys, "fail")
    assert (code, out) == (KINDS[kind].exit_code, "")
    assert err == "fedops: no such thing; make one\n"


def test_exit_codes_differ() -> None:
    codes = [cls.exit_code for cls in KINDS.values()]
    assert len(set(codes)) == len(codes)
    assert not {0, FedOpsError.exit_code} & set(codes)


def test_with_json_the_error_is_one_document_on_stdout(
    capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(KINDS["conflict"]("it runs already"))
    code, out, err = run(capsys, "fail", "--json")
    assert code == 5
    assert json.loads(out) == {
        "kind": "conflict",
        "error": "Conflict",
        "message": "it runs already",
    }
    assert err == "fedops: it runs already\n"


def test_a_mistake_of_ours_is_named_as_such_without_a_traceback(
    capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(ZeroDivisionError("division by zero"))
    code, _, err = run(capsys, "fail")
    assert code == 1
    assert "internal error: ZeroDivisionError: division by zero" in err
    assert "Traceback" not in err


def test_a_file_that_may_not_be_had_is_no_internal_error(
    capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(PermissionError(errno.EACCES, "Permission denied", "/there/device.json"))
    code, _, err = run(capsys, "fail")
    said = "/there/device.json: Permission denied; let its user write there (chown, chmod)"
    assert (code, err) == (6, f"fedops: {said}\n")


def test_a_machine_without_memory_is_no_internal_error(
    capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(MemoryError("Unable to allocate 8 GiB"))
    code, _, err = run(capsys, "fail")
    assert code == 6
    assert err.startswith("fedops: this machine has no memory left: end other programs there")


def test_the_traceback_is_there_for_the_asking(
    capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(ZeroDivisionError("division by zero"))
    _, _, err = run(capsys, "--traceback", "fail")
    assert "Traceback" in err


def test_interrupted_is_silent(
    capsys: pytest.CaptureFixture[str], failing: list[BaseException]
) -> None:
    failing.append(KeyboardInterrupt())
    assert run(capsys, "fail") == (130, "", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tsak", "list"], "No such command 'tsak'; did you mean 'task'?"),
        (["task", "lits"], "Did you mean 'list'"),
        (["run", "show", "seven"], "'seven' is not a valid int"),
        (["run", "show"], "Missing argument 'RUN'"),
        (["task", "list", "--jsno"], "No such option"),
    ],
)
def test_a_mistyped_command_is_one_message_and_exit_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--version")
    assert code == 0
    assert out.startswith("fedops 2.")


def test_what_is_in_brackets_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("key [x]")
    table.add_row("layers[0].weight")
    show({}, False, "[model] _target_: ...", "a:bomb:b", table)
    shown = capsys.readouterr().out
    for words in ("[model] _target_: ...", "a:bomb:b", "key [x]", "layers[0].weight"):
        assert words in shown
