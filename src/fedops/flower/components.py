"""The components of an app, as ``[tool.flwr.app.components]`` names them."""

from __future__ import annotations

import importlib
from operator import attrgetter
from pathlib import Path

from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fedops.core.errors import Invalid
from fedops.scalize.flow.target_import import import_advice


def load_client_app(reference: str, roots: tuple[Path, ...] = ()) -> ClientApp:
    """The ClientApp that ``module:name`` refers to. ``Invalid``: there is none, or importing it failed."""
    found = _load("clientapp", reference, roots)
    if not isinstance(found, ClientApp):
        raise _other(found, "clientapp", reference, "flwr.clientapp.ClientApp")
    return found


def load_server_app(reference: str, roots: tuple[Path, ...] = ()) -> ServerApp:
    """The ServerApp that ``module:name`` refers to. ``Invalid``: there is none, or importing it failed."""
    found = _load("serverapp", reference, roots)
    if not isinstance(found, ServerApp):
        raise _other(found, "serverapp", reference, "flwr.serverapp.ServerApp")
    return found


def _load(key: str, reference: str, roots: tuple[Path, ...]) -> object:
    module, _, name = reference.partition(":")
    try:
        return attrgetter(name)(importlib.import_module(module))
    except Exception as error:
        raise Invalid(f"{_where(key, reference)}: {import_advice(error, roots)}") from None


def _other(found: object, key: str, reference: str, wanted: str) -> Invalid:
    kind = type(found).__name__
    return Invalid(f"{_where(key, reference)} is a {kind}, and must be a {wanted}")


def _where(key: str, reference: str) -> str:
    return f'[tool.flwr.app.components] {key} = "{reference}"'
