"""``[node_config]`` in ``device.toml``."""

from pathlib import Path

import pytest

from fedops.client.device.device_config import load_device_config
from fedops.core.errors import Invalid


def test_it_holds_plain_values_only(tmp_path: Path) -> None:
    file = tmp_path / "device.toml"
    file.write_text('[node_config]\ndata-path = "/srv/data"\nsites = 3\n')
    assert load_device_config(file).node_config == {"data-path": "/srv/data", "sites": 3}
    file.write_text("[node_config]\ndata-path = [1]\n")
    with pytest.raises(Invalid, match="node_config"):
        load_device_config(file)
