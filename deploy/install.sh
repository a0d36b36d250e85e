#!/bin/sh
# Makes the environment of an image, /opt/fedops: FedOps with the extras that $1 names ("torch", "torch,xai", ""),
# and the packages that the other arguments name.
# It runs while an image is built, in a stage of which only /opt/fedops is kept: pip stays behind.
set -eu
extras=$1
shift

python3 -m venv /build
python3 -m venv --without-pip /opt/fedops
export PIP_CONSTRAINT="$PWD/constraints.txt" PIP_DISABLE_PIP_VERSION_CHECK=1
/build/bin/pip --python /opt/fedops/bin/python3 install --no-cache-dir --no-compile ".${extras:+[$extras]}" "$@"

# What only builds or tests: torch's headers and test programs, the tests of the large packages, the installer
# that Flower brings for 'flwr run'.
cd /opt/fedops/lib/python3*/site-packages
rm -rf torch/include torch/test torch/bin/*[Tt]est* torch/bin/protoc* ../../../bin/uv ../../../bin/uvx
for package in matplotlib networkx numba numpy pandas scipy shap sklearn sympy; do
  [ ! -d "$package" ] || find "$package" -type d -name tests -prune -exec rm -rf {} +
done

# An image is read-only, so what is not compiled here is compiled at every start. Compile what is used: the modules
# that the programs import.
/opt/fedops/bin/python3 - <<'PROGRAMS'
import contextlib
import importlib

PROGRAMS = ["fedops.cli.commands.server", "fedops.cli.access.tokens", "fedops.server.app",
            "fedops.server.http_server", "fedops.flower.server_app", "fedops.client.app_entry",
            "fedops.client.training.main"]
FRAMEWORKS = ["fedops.scalize.frameworks.pytorch", "fedops.scalize.frameworks.sklearn",
              "fedops.scalize.frameworks.huggingface", "torch.utils.data", "captum.attr", "matplotlib.pyplot"]

for name in PROGRAMS:
    importlib.import_module(name)
for name in FRAMEWORKS:
    with contextlib.suppress(ImportError):  # it is in none of the extras
        importlib.import_module(name)
PROGRAMS
