"""The one asset that is not written here is the one that its script made."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fedops.server.dashboard.web.assets import FOLDER

_MADE = Path(__file__).parents[4] / ".ci" / "echarts"


def test_the_charts_that_are_served_are_the_ones_that_the_script_built() -> None:
    digest, name = (_MADE / "echarts.sha256").read_text().split()
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest


def test_their_licences_come_with_them() -> None:
    served = (FOLDER / "echarts.js").read_text()
    assert "Apache ECharts\nCopyright 2017-" in served
    licences = (FOLDER / "echarts.licences.txt").read_text()
    assert "Apache License" in licences
    assert "BSD 3-Clause License" in licences
