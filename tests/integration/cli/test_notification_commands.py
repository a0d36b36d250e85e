"""``fedops notification`` against a server whose worker runs, and receivers of messages."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from managing import World, managing
from receivers import mail_receiver, web_receiver

from fedops.cli.main import main

Said = Callable[..., str]
SECRET = "a-signing-secret-of-mine"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        made.manager.notifications.start()
        yield made
        made.manager.notifications.end()
        made.manager.notifications.join(5)


@pytest.fixture
def said(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Said:
    monkeypatch.setenv("FEDOPS_SERVER", world.url)
    monkeypatch.setenv("FEDOPS_TOKEN", world.operator_token())

    def run(*words: str, reads: str = "", code: int = 0) -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(reads))
        with pytest.raises(SystemExit) as ended:
            main(["notification", *words])
        out = capsys.readouterr()
        assert ended.value.code == code, out.err
        assert SECRET not in out.out + out.err
        return out.out if code == 0 else out.err

    return run


def test_a_channel_from_its_beginning_to_its_end(
    said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "fedops notification add" in said("list")
    with web_receiver() as web, mail_receiver() as mail:
        where = ("--webhook", f"{web.url}/hook", "--rule", "run_failed", "--secret")
        assert "fedops notification test ops" in said("add", "ops", *where, reads=f"{SECRET}\n")
        assert "was sent" in said("test", "ops")
        assert json.loads(web.calls[0].body)["test"] is True
        assert "x-fedops-signature" in web.calls[0].headers
        web.answer(404, "nobody is here")
        assert "it answered 404: nobody is here" in said("test", "ops", code=6)
        (tmp_path / "secret").write_text(f"{web.url}/secret/{SECRET}-wxyz\n")
        said("add", "chat", "--slack", "--secret-file", str(tmp_path / "secret"))
        monkeypatch.setenv("FEDOPS_NOTIFICATION_SECRET", SECRET)
        server = ("--mail-server", f"127.0.0.1:{mail.port}", "--mail-security", "none")
        who = ("--from", "fl@example.org", "--email", "a@example.org", "--mail-user", "fl")
        said("add", "mail", *server, *who, "--secret", "--off")
        assert "was sent" in said("test", "mail")
        said("change", "mail", "--email", "b@example.org", "--on", "--lost-minutes", "30")
        assert "was sent" in said("test", "mail")
        assert [to for _, to, _ in mail.mails] == [["a@example.org"], ["b@example.org"]]
    listed = said("list")
    assert "127.0.0.1, …wxyz" in listed
    assert "it answered 404" in said("show", "ops")
    shown = json.loads(said("show", "mail", "--json"))
    assert (shown["channel"]["lost_minutes"], shown["channel"]["has_secret"]) == (30.0, True)
    assert [one["status"] for one in shown["messages"]] == ["sent", "sent"]
    assert "run_failed" in said("show", "ops")
    assert "is removed" in said("remove", "mail", "--yes")
    assert "there is no notification channel 'mail'" in said("test", "mail", code=4)


def test_what_is_typed_wrongly_is_said(said: Said) -> None:
    assert "name one kind" in said("add", "x", code=2)
    assert "needs --mail-server and --from" in said("add", "x", "--email", "a@b.example", code=2)
    assert "no secret given" in said("add", "x", "--slack", code=2)
    said("add", "x", "--webhook", "https://example.org/x")
    assert "nothing is changed" in said("change", "x", code=2)
