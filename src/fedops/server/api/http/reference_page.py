"""The API as one page for people, made from its OpenAPI document. Needs nothing from elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from fedops.console.federation import INSECURE

router = APIRouter(include_in_schema=False)
OPENAPI_URL = "/api/openapi.json"
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2330}
code,summary{font-family:ui-monospace,monospace} summary{cursor:pointer;padding:.2rem 0}
summary b{display:inline-block;width:4.5rem} summary span{color:#5b6676;font-family:system-ui}
table{border-collapse:collapse;margin:.3rem 0 1rem 1rem} td{padding:.1rem .8rem .1rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#12161d;color:#dbe2ec}summary span{color:#93a0b3}}
"""


@router.get("/api/docs")
def page(request: Request) -> HTMLResponse:
    """Every endpoint, by group."""
    insecure = request.app.state.services.settings.is_insecure
    return HTMLResponse(render(request.app.openapi(), f"INSECURE: {INSECURE}" if insecure else ""))


def render(document: Mapping[str, Any], warning: str = "") -> str:
    """The OpenAPI document as HTML."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            tag = operation.get("tags", ["other"])[0]
            groups[tag].append(_operation(document, path, method, operation))
    title = escape(document["info"]["title"])
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(rows)}" for tag, rows in groups.items())
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
        f"<style>{_STYLE}</style><p><b>{escape(warning)}</b></p><h1>{title}</h1>"
        f"<p>Send <code>Authorization: Bearer TOKEN</code>. Every error is a JSON object with "
        f"<code>kind</code>, <code>error</code> and <code>message</code>. "
        f"For programs: <a href={OPENAPI_URL}>{OPENAPI_URL}</a>.</p>{body}"
    )


def _operation(
    document: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> str:
    told = escape(operation.get("description") or operation.get("summary", ""))
    rows = [*_parameters(operation), *_body(document, operation), *_answer(document, operation)]
    table = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        f"<details><summary><b>{method.upper()}</b>{escape(path)} <span>{told}</span></summary>"
        f"<table>{table}</table></details>"
    )


def _parameters(operation: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for parameter in operation.get("parameters", []):
        yield parameter["in"], _code(parameter["name"]), escape(_type(parameter["schema"]))


def _body(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    yield from _fields(document, "body", operation.get("requestBody", {}))


def _answer(
    document: Mapping[str, Any], operation: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for status, answer in operation.get("responses", {}).items():
        if status.startswith("2"):
            yield from _fields(document, f"answer {status}", answer)


def _fields(
    document: Mapping[str, Any], where: str, holder: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    schema = holder.get("content", {}).get("application/json", {}).get("schema")
    if not schema:
        return
    many = " (a list)" if schema.get("type") == "array" else ""
    name = (schema.get("items") or schema).get("$ref", "").rpartition("/")[2]
    found = document.get("components", {}).get("schemas", {}).get(name, {})
    required = found.get("required", [])
    yield where + many, f"<b>{escape(name)}</b>", ""
    for field, inner in found.get("properties", {}).items():
        yield "", _code(field), escape(_type(inner) + ("" if field in required else ", optional"))


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _type(schema: Mapping[str, Any]) -> str:
    """A schema in one or two words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(str(value) for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))
