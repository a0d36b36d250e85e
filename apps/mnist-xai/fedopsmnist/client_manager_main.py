"""The communication manager: keeps this device in touch with the server and supervises the training client.

`flwr run .` starts it. By hand: `python -m fedopsmnist.client_manager_main`, and Ctrl-C to end it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fedops.app import run_client_manager

APP_DIR = Path(__file__).resolve().parents[1]

if __name__ == "__main__":
    sys.exit(run_client_manager(APP_DIR, "fedopsmnist.client_main"))
