"""Recordings of the protocol, of every version: today's server and today's clients understand them.

``record_protocol.py`` makes them. Each is played again as it was, as a newer program would speak (with fields
that nobody knows), and as one would that leaves out what it may.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import httpx
import pytest
from managing import World, managing, node_key
from protocol_scenario import MODELS, TASK, models_of
from pydantic import BaseModel, TypeAdapter
from record_protocol import KEPT

from fedops.api_client import PREFIX
from fedops.client.device.enrolment import join_request
from fedops.core import contracts as c
from fedops.server.rounds.engine_session import spool_dir

VERSIONS = sorted(KEPT.glob("v*/recording.json"))
UNKNOWN = {"a_field_of_the_future": {"is": ["unknown", 1]}}
Json = Any


@pytest.fixture(params=VERSIONS, ids=lambda path: path.parent.name)
def recording(request: pytest.FixtureRequest) -> Json:
    return json.loads(request.param.read_text())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """On one kind of database: what is said does not depend on it."""
    with managing(tmp_path) as made:
        yield made


def test_each_call_of_todays_version_is_recorded() -> None:
    kept = json.loads((KEPT / f"v{c.PROTOCOL}" / "recording.json").read_text())["exchanges"]
    recorded = {models_of(one["method"], _below(one)) for one in kept}
    assert set(MODELS.values()) <= recorded


# --- the server ------------------------------------------------------------------------------------


class Player:
    """Sends what was recorded, with today's names for what differs each time."""

    def __init__(self, world: World, recording: Json, speech: str) -> None:
        self._recording, self._speech = recording, speech
        self._http = httpx.Client(base_url=world.url, timeout=30.0)
        world._open.append(self._http)
        world.task(TASK)
        run = world.operator.start_run(TASK, c.RunStart())
        _, engine = world.open_attempt(run.id)
        home = world.manager.services.settings.home
        self._spool = spool_dir(home, run.id, 1)
        joining = join_request(world.join_token(), "ada", node_key(), c.DeviceInfo())
        self.names = {
            "home": str(home),
            "attempt_token": engine._http.headers["authorization"].removeprefix("Bearer "),
            "join_token": joining.token,
            "public_key": joining.public_key,
            "proof": joining.proof,
        }

    def play(self) -> None:
        for number, exchange in enumerate(self._recording["exchanges"]):
            where = f"call {number}, {exchange['method']} {exchange['path']}"
            self._put_spool()
            answer = self._send(exchange)
            assert answer.status_code == exchange["status"], f"{where}: {answer.text}"
            self._compare(exchange["reply_headers"], dict(answer.headers), where)
            self._compare(exchange.get("reply"), _content(answer), where)

    def _put_spool(self) -> None:
        self._spool.mkdir(parents=True, exist_ok=True)
        for name, data in self._recording["spool"].items():
            (self._spool / name).write_bytes(base64.b64decode(data))

    def _send(self, exchange: Json) -> httpx.Response:
        headers = {name: self._fill(text) for name, text in exchange["headers"].items()}
        body = exchange.get("body")
        if self._speech == "unknown":
            headers["fedops-of-the-future"] = "1"
            if "upload-metadata" in headers:
                headers["upload-metadata"] += ",of_the_future eA=="
            body = with_unknown(models_of(exchange["method"], _below(exchange))[0], body)
        elif self._speech == "sparse":
            body = exchange.get("body_sparse", body)
        return self._http.request(
            exchange["method"],
            self._fill(exchange["path"]),
            headers=headers,
            content=self._raw(body),
        )

    def _raw(self, body: Json) -> bytes:
        if isinstance(body, dict) and body.keys() == {"base64"}:
            return base64.b64decode(body["base64"])
        return b"" if body is None else self._fill(json.dumps(body), escaped=True).encode()

    def _fill(self, text: str, escaped: bool = False) -> str:
        def value(found: re.Match[str]) -> str:
            text = self.names[found[1]]
            if found[2]:
                return base64.b64encode(text.encode()).decode()
            return json.dumps(text)[1:-1] if escaped else text

        return re.sub(r"\$\{(\w+)(\|base64)?\}", value, text)

    # --- answers -------------------------------------------------------------------------------

    def _compare(self, kept: Json, found: Json, where: str) -> None:
        """Everything that was said is said still. There may be more."""
        if isinstance(kept, dict):
            assert isinstance(found, dict), where
            for key, value in kept.items():
                assert key in found, f"{where}: {key} is not said any more"
                self._compare(value, found[key], f"{where}: {key}")
        elif isinstance(kept, list):
            assert isinstance(found, list), where
            assert len(found) == len(kept), where
            for one, other in zip(kept, found, strict=True):
                self._compare(one, other, where)
        elif isinstance(kept, str):
            assert isinstance(found, str), where
            self._compare_text(kept, found, where)
        elif isinstance(kept, bool):
            assert found is kept, where
        elif isinstance(kept, int | float):
            assert isinstance(found, int | float), where

    def _compare_text(self, kept: str, found: str, where: str) -> None:
        if "${" not in kept:
            assert found == kept or " " in kept, where  # sentences may be said better
            return
        parts = re.split(r"\$\{(\w+)\}", kept)
        for i in range(1, len(parts), 2):
            parts[i] = self._pattern(parts[i])
        parts[::2] = map(re.escape, parts[::2])
        matched = re.fullmatch("".join(parts), found)
        assert matched, f"{where}: {found}"
        self.names |= matched.groupdict()

    def _pattern(self, name: str) -> str:
        known = self.names.get(name)
        return f"(?P<{name}>.+?)" if known is None else re.escape(known)


@pytest.mark.parametrize("speech", ["as it was", "unknown", "sparse"])
def test_the_server_understands_what_was_recorded(
    world: World, recording: Json, speech: str
) -> None:
    Player(world, recording, speech).play()
    run = world.operator.run(1)
    assert (run.status, run.committed_rounds) == ("completed", 3)


# --- the clients -----------------------------------------------------------------------------------


def _documents(recording: Json) -> Iterator[tuple[Any, Json, Json]]:
    """The models, the JSON that travelled, and the same without what is as by default."""
    for exchange in recording["exchanges"]:
        takes, gives = models_of(exchange["method"], _below(exchange))
        if takes is not None:
            yield takes, exchange["body"], exchange["body_sparse"]
        if gives is not None and "reply_sparse" in exchange:
            yield gives, exchange["reply"], exchange["reply_sparse"]


def test_todays_models_read_what_was_recorded(recording: Json) -> None:
    for model, full, sparse in _documents(recording):
        kind = TypeAdapter(model)
        full, sparse = _filled(full), _filled(sparse)
        read = kind.validate_python(full)
        assert kind.validate_python(with_unknown(model, full)) == read
        assert kind.validate_python(sparse) == read, "a default is another one now"


def _filled(value: Json) -> Json:
    """With some id for each name."""
    return json.loads(re.sub(r"\$\{\w+\}", "a" * 32, json.dumps(value)))


def with_unknown(model: Any, value: Json) -> Json:
    """The JSON of a model with an unknown field in each of its objects."""
    if get_origin(model) in (Annotated, list, tuple, Union, UnionType):
        inner = [one for one in get_args(model) if _has_model(one)]
        if not inner or value is None:
            return value
        one = inner[0]
        if isinstance(value, list) and get_origin(model) in (list, tuple):
            return [with_unknown(one, item) for item in value]
        return with_unknown(one, value)
    if not _is_model(model) or not isinstance(value, dict):
        return value
    fields = model.model_fields
    kept = {
        k: with_unknown(fields[k].annotation, v) if k in fields else v for k, v in value.items()
    }
    return kept | UNKNOWN


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _has_model(kind: Any) -> bool:
    return _is_model(kind) or any(_has_model(one) for one in get_args(kind))


def _below(exchange: Json) -> str:
    return str(exchange["path"]).removeprefix(PREFIX)


def _content(answer: httpx.Response) -> Json:
    if not answer.content:
        return None
    try:
        return answer.json()
    except ValueError:
        return {"base64": base64.b64encode(answer.content).decode()}
