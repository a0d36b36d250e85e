"""The examples in the docstrings of the extension points are true."""

from __future__ import annotations

import doctest
import inspect
from pathlib import Path

import pytest

from fedops.engine.aggregation_port import AggregationPort
from fedops.explain.methods.base import Method
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.storage.blobs import BlobStore


@pytest.mark.parametrize("port", [AggregationPort, BlobStore, Method, ModelAdapter])
def test_the_example_is_true(port: type, tmp_path: Path) -> None:
    text = inspect.getdoc(port) or ""
    names = {"folder": tmp_path, "__name__": "example"}
    example = doctest.DocTestParser().get_doctest(text, names, port.__name__, None, None)
    assert example.examples, "there is no example"
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert result.failed == 0, "".join(said)
