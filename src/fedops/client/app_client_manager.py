"""The Client Manager of an app without a module of its own for it; ``flwr run .`` starts it."""

from __future__ import annotations

import sys
from pathlib import Path

from fedops.processes.first_process import end_on_sigterm

if __name__ == "__main__":  # in the app's folder
    end_on_sigterm()
    from fedops.client.app_entry import run_client_manager  # takes a second or two

    sys.exit(run_client_manager(Path.cwd(), "fedops.client.training.main"))
