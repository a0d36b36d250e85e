"""One S3 server for all tests of this folder that want it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from s3_server import S3Server, s3_for_tests


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_for_tests(tmp_path_factory.mktemp("s3")) as server:
        yield server
