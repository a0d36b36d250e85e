"""Records every call of the protocol between devices, FL servers and the Server Manager, for good.

    make record-protocol

plays ``protocol_scenario`` with today's clients on a real server and writes
``tests/fixtures/protocol/vVERSION/recording.json``. A recording that is there is never written over: when the
protocol changes so that an old client would misunderstand it, its version goes up, and one is made for that.

What differs each time (ids, tokens, keys, paths) is a name in ``${...}``; ``${name|base64}`` is its base64.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from pydantic import TypeAdapter

sys.path.insert(0, str(Path(__file__).parents[2] / "helpers"))

from managing import managing, node_key
from protocol_scenario import SPOOL, TASK, Scenario, models_of

from fedops.api_client import PREFIX
from fedops.core import contracts as c
from fedops.server.rounds.engine_session import spool_dir

KEPT = Path(__file__).parents[2] / "fixtures" / "protocol"
#: The headers that mean something. Others are the HTTP library's.
ASKED = ("authorization", c.PROTOCOL_HEADER, "content-type", "range", "if-range", "tus-resumable")
ASKED += ("upload-length", "upload-metadata", "upload-offset")
ANSWERED = ("content-type", "etag", "content-range", "accept-ranges", "location", "tus-resumable")
ANSWERED += ("upload-offset", "upload-length", "upload-expires")
_VARIES = {
    "id": r"(?<![0-9a-f])(?!(?P<same>[0-9a-f])(?P=same){31})[0-9a-f]{32}(?![0-9a-f])",
    "token": r"fo_(?:device|attempt|join)_[\w-]+",
    "node": r"(?<!\d)\d{19}(?!\d)",
}


@dataclass
class Names:
    """What differs each time, by name."""

    values: dict[str, str] = field(default_factory=dict)

    def find(self, text: str) -> None:
        """Name what is new in a text."""
        for kind, pattern in _VARIES.items():
            for found in re.finditer(pattern, text):
                if found[0] not in self.values.values():
                    self.values[self._name(kind, found[0])] = found[0]

    def _name(self, kind: str, value: str) -> str:
        if kind == "token":
            return value.split("_")[1] + "_token"
        return f"{kind}{sum(name.startswith(kind) for name in self.values) + 1}"

    def hide(self, text: str) -> str:
        """The text with names for what differs."""
        self.find(text)
        for name, value in self.values.items():
            text = text.replace(base64.b64encode(value.encode()).decode(), f"${{{name}|base64}}")
            text = text.replace(json.dumps(value)[1:-1], f"${{{name}}}")
        return text


class Recorder(httpx.BaseTransport):
    """Passes calls on, and keeps them with their answers."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._http = httpx.HTTPTransport()
        self.exchanges: list[dict[str, Any]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        asked = request.read()
        answer = self._http.handle_request(request)
        data = answer.read()
        self.exchanges.append(self._exchange(request, asked, answer, data))
        stream = httpx.ByteStream(data)
        return httpx.Response(answer.status_code, headers=answer.headers, stream=stream)

    def _exchange(
        self, request: httpx.Request, asked: bytes, answer: httpx.Response, data: bytes
    ) -> dict[str, Any]:
        path = request.url.path
        takes, gives = models_of(request.method, path.removeprefix(PREFIX))
        gives = gives if answer.is_success else None
        made = {
            "method": request.method,
            "path": path,
            "headers": _some(request.headers, ASKED),
            **_content("body", asked, takes),
            "status": answer.status_code,
            "reply_headers": _some(answer.headers, ANSWERED),
            **_content("reply", data, gives),
        }
        text = json.dumps(made)
        found: dict[str, Any] = json.loads(self._names.hide(text))
        return found


def _some(headers: httpx.Headers, wanted: tuple[str, ...]) -> dict[str, str]:
    return {name: headers[name] for name in wanted if name in headers}


def _content(what: str, data: bytes, model: Any) -> dict[str, Any]:
    """A body, and (``..._sparse``) what remains when all that is as by default is left out."""
    if not data:
        return {}
    try:
        found = json.loads(data)
    except ValueError:
        return {what: {"base64": base64.b64encode(data).decode()}}
    if model is None:
        return {what: found}
    kind = TypeAdapter(model)
    sparse = kind.dump_python(kind.validate_python(found), mode="json", exclude_defaults=True)
    return {what: found, f"{what}_sparse": sparse}


def record(folder: Path) -> dict[str, Any]:
    """Play the scenario on a server in this folder."""
    names = Names()
    with managing(folder) as world:
        world.task(TASK)
        run = world.operator.start_run(TASK, c.RunStart())
        _, engine = world.open_attempt(run.id)
        attempt_token = engine._http.headers["authorization"].removeprefix("Bearer ")
        recorder = Recorder(names)
        home = world.manager.services.settings.home
        names.values["home"] = str(home)
        spool = spool_dir(home, run.id, 1)
        key = node_key()
        Scenario(world.url, world.join_token(), attempt_token, key, spool, recorder).play()
    _hide_key(recorder.exchanges[0])
    files = {name: base64.b64encode(data).decode() for name, data in SPOOL.items()}
    return {"protocol": c.PROTOCOL, "spool": files, "exchanges": recorder.exchanges}


def _hide_key(joined: dict[str, Any]) -> None:
    """Whoever plays it again joins with a key of their own."""
    for body in (joined["body"], joined["body_sparse"]):
        body |= {"public_key": "${public_key}", "proof": "${proof}"}


def main() -> None:
    target = KEPT / f"v{c.PROTOCOL}" / "recording.json"
    if target.exists():
        raise SystemExit(f"{target} is kept for good; a new one is made for a new PROTOCOL only")
    with tempfile.TemporaryDirectory() as folder:
        made = record(Path(folder))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(made, indent=1) + "\n")
    print(f"{len(made['exchanges'])} calls recorded in {target}")


if __name__ == "__main__":
    main()
