"""Whatever the API's own description allows, and much that it does not: no answer is an error of ours."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from managing import World, managing
from people import user_token
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from fedops.core import contracts as c
from fedops.core.states import Role

#: For each operation and mode: in 'make test', where the whole stays within a minute, and in 'test-long'.
EXAMPLES, MANY = 5, 40
#: Of callers who get nowhere with most of them.
FEW = 2
#: What is there, so that requests get further than "no such task".
KNOWN = {
    "task": "mnist",
    "run_id": 1,
    "round": 1,
    "device": "other",
    "version": "V0",
    "user": "someone",
}
#: The answers are those of the description, too.
AS_DESCRIBED = [status_code_conformance, content_type_conformance, response_schema_conformance]
NOBODY, DEVICE = "nobody", "device"


@dataclass
class Target:
    """A server with a run that goes on, and everybody's credentials."""

    world: World
    device: Mapping[str, str]
    engine: Mapping[str, str]
    admin: str = ""
    #: A role, a device or nobody.
    caller: str = Role.ADMIN
    #: How often each status was answered.
    seen: Counter[int] = field(default_factory=Counter)

    def headers(self, path: str) -> Mapping[str, str]:
        if self.caller == NOBODY:
            return {}
        if self.caller == DEVICE:
            return self.device
        if "/devices/me" in path or path.startswith("/api/v1/work"):
            return self.device
        if "/engine/" in path:
            return self.engine
        return {"authorization": f"Bearer {self.admin}"}

    def renew(self) -> None:
        """A token of the user's: one of the requests may have revoked the last."""
        if self.caller in set(Role):
            self.admin = user_token(self.world, Role(self.caller))


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder: Path = tmp_path_factory.mktemp("fuzz")
    with managing(folder) as world:
        world.task()
        reply, _ = world.join("pi")
        world.ready_devices("other")
        _, engine = world.running()
        engine.begin_round(1, c.RoundBegin(selected={"other": "x"}))
        version = {"fedops-protocol": "1"}
        device = {**version, "authorization": f"Bearer {reply.device_token}"}
        attempt = {**version, "authorization": str(engine._http.headers["authorization"])}
        made = Target(world, device, attempt)
        made.renew()
        world.operator.add_user(c.UserCreate(name="someone", role=Role.VIEWER))
        yield made


def _send(target: Target, case: Any, known: bool) -> Any:
    if known:
        case.path_parameters = {
            name: KNOWN.get(name, value) for name, value in (case.path_parameters or {}).items()
        }
    waits = case.operation.path.endswith("/engine/collect")  # 8 s, when it is not told
    if isinstance(case.body, dict) and ("wait" in case.body or waits):
        case.body["wait"] = 0  # there is no news
    return case.call(headers={**(case.headers or {}), **target.headers(case.operation.path)})


def _try(target: Target, operation: Any, mode: GenerationMode, examples: int) -> None:
    @seed(7)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
    def check(case: Any, known: bool) -> None:
        answer = _send(target, case, known)
        if answer.status_code == 401 and target.caller != NOBODY:
            target.renew()
            answer = _send(target, case, known)
        target.seen[answer.status_code] += 1
        assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
        case.validate_response(answer, checks=AS_DESCRIBED)

    check()


@pytest.mark.filterwarnings("ignore")  # of the tools that make the requests, not of ours
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=str)
@pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY, marks=[pytest.mark.long])])
def test_no_request_meets_an_error_of_ours(
    target: Target, mode: GenerationMode, examples: int
) -> None:
    random.seed(7)
    schema = schemathesis.openapi.from_url(f"{target.world.url}/api/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 50
    for operation in operations:
        if mode is GenerationMode.POSITIVE or _takes_anything(operation):
            _try(target, operation, mode, examples)
    if mode is GenerationMode.POSITIVE:
        assert target.seen[200] > 50, target.seen  # they got somewhere
    assert target.seen[404] > 10, target.seen
    assert target.seen[422] > 10, target.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("caller", [Role.OPERATOR, Role.VIEWER, DEVICE, NOBODY])
def test_no_request_of_anybody_meets_an_error_of_ours(target: Target, caller: str) -> None:
    target.caller = caller
    target.renew()
    target.seen.clear()
    schema = schemathesis.openapi.from_url(f"{target.world.url}/api/openapi.json")
    for found in schema.get_all_operations():
        _try(target, found.ok(), GenerationMode.POSITIVE, FEW)
    assert target.seen[401 if caller == NOBODY else 403] > 10, target.seen


def _takes_anything(operation: Any) -> bool:
    """Whether there is something to get wrong in a request."""
    return bool(operation.body or operation.query or operation.path_parameters)
