"""An app with a linear model of scikit-learn, as files."""

from pathlib import Path

PYPROJECT = """
[project]
name = "tiny"
version = "1.0.0"
license = "Apache-2.0"

[tool.flwr.app]
publisher = "somebody"
[tool.flwr.app.components]
serverapp = "tiny.app:server"
clientapp = "tiny.app:client"
[tool.flwr.app.config]
mode = "client"

[tool.fedops]
package = "tiny"
config = "tiny/config.toml"
[tool.fedops.flow]
data = "tiny.parts.load_data"
"""
PARTS = """
import numpy as np
from sklearn.linear_model import SGDClassifier

def load_data(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(40, 3))
    return x, (x[:, 0] > 0).astype(int)

def model():
    return SGDClassifier()
"""
CONFIG = 'num_rounds = 1\nclients_per_round = 1\n[model]\n_target_ = "tiny.parts.model"\n'


def write_app(folder: Path) -> Path:
    (folder / "tiny").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "tiny" / "__init__.py").touch()
    (folder / "tiny" / "app.py").write_text("server = client = None\n")
    (folder / "tiny" / "parts.py").write_text(PARTS)
    (folder / "tiny" / "config.toml").write_text(CONFIG)
    return folder
