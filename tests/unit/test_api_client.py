"""What the typed client refuses before anything is sent, and what it makes of odd answers."""

import re
from pathlib import Path

import httpx
import pytest

from fedops.api_client import BlobClient, DigestMismatch, OffsetMismatch, OperatorClient, TryLater
from fedops.core.contracts import ErrorReply
from fedops.core.errors import (
    AttemptSuperseded,
    Conflict,
    FedOpsError,
    Forbidden,
    Invalid,
    NotFound,
    RunBusy,
    Unavailable,
)


def client(answer: str = "[]", token: str = "fo_admin_x") -> OperatorClient:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=answer))
    return OperatorClient("http://server", token=token, transport=transport)


def answering(status: int, body: ErrorReply) -> OperatorClient:
    answer = httpx.Response(status, json=body.model_dump())
    return OperatorClient("http://server", transport=httpx.MockTransport(lambda _: answer))


@pytest.mark.parametrize("name", ["a b/c", "../tasks", "..", "", "a?b#c", "täsk"])
def test_a_name_that_is_none_reaches_no_other_address(name: str) -> None:
    with client() as operator:
        with pytest.raises(Invalid, match="is no name"):
            operator.device(name)
        with pytest.raises(Invalid, match="is no name"):
            operator.model("mnist", name)


@pytest.mark.parametrize("token", ["tökén", "two words", "a\nb", " "])
def test_what_cannot_be_a_token_is_not_sent(token: str) -> None:
    with pytest.raises(Forbidden, match="this is no token"):
        client(token=token)


def test_the_line_end_of_a_copied_token_does_no_harm() -> None:
    with client(token="fo_admin_x\r\n") as operator:
        assert operator.devices() == []


@pytest.mark.parametrize("answer", ["<html>", "{}", '[{"id": 1}]'])
def test_another_program_at_the_url_is_named_as_such(answer: str) -> None:
    with client(answer) as operator, pytest.raises(Unavailable, match="is this its URL"):
        operator.devices()


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "model.safetensors"
    with (
        client() as operator,
        pytest.raises(Unavailable, match=re.escape(f"cannot write {target}: ")),
    ):
        operator.download_model("mnist", "V1", target)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFound),
        (409, OffsetMismatch),
        (410, Conflict),
        (413, Invalid),
        (460, DigestMismatch),
        (503, TryLater),
    ],
)
@pytest.mark.parametrize("ours", [True, False], ids=["server", "proxy"])
def test_what_becomes_of_an_upload_is_told_by_the_status_alone(
    status: int, kind: type[FedOpsError], ours: bool
) -> None:
    body = {"kind": "invalid", "error": "E", "message": "because of this"}
    answer = httpx.Response(status, json=body) if ours else httpx.Response(status)
    blobs = BlobClient("http://server", transport=httpx.MockTransport(lambda _: answer))
    with blobs, pytest.raises(FedOpsError, match="because of this" if ours else ".") as caught:
        blobs.append("u", 0, iter([b"x"]), 1)
    assert type(caught.value) is kind


@pytest.mark.parametrize("error", [AttemptSuperseded, RunBusy, Conflict, NotFound, Invalid])
def test_an_error_arrives_as_the_one_that_was_raised(error: type[FedOpsError]) -> None:
    said = ErrorReply.of(error("because of this"))
    with (
        answering(error.http_status, said) as operator,
        pytest.raises(FedOpsError, match=r"^because of this$") as caught,
    ):
        operator.runs()
    assert type(caught.value) is error


def test_an_error_that_only_a_newer_server_knows_is_of_its_kind() -> None:
    newer = ErrorReply(kind="conflict", error="SomethingNew", message="because of this")
    with answering(409, newer) as operator, pytest.raises(FedOpsError) as caught:
        operator.runs()
    assert type(caught.value) is Conflict
