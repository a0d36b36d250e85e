"""The local training client: this device's model and data, trained on when a round asks for it.

`fedopsmnist.client_manager_main` starts it, watches it, and starts it again should it die.
"""

from __future__ import annotations

from fedops.app import run_training_client

if __name__ == "__main__":
    run_training_client()
