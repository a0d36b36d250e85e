"""Runs every benchmark, one after the other; ``--json`` and ``--quick`` are handed on."""

from __future__ import annotations

import json
import subprocess
import sys

from common import HERE, options

BENCHMARKS = (
    "round_overhead",
    "server_cost",
    "tls_cost",
    "thousand_devices",
    "aggregation_memory",
    "first_round",
    "time_to_accuracy",
    "selection",
    "idle_cost",
    "big_file",
    "explain_overhead",
    "contribution",
    "dashboard",
)


def main() -> None:
    """Exit code 1 when one of them missed what is promised."""
    parser = options(__doc__ or "")
    parser.add_argument("only", nargs="*", help=f"which, of {', '.join(BENCHMARKS)}; default: all")
    chosen = parser.parse_args()
    flags = [flag for flag in ("--json", "--quick") if getattr(chosen, flag[2:])]
    failed, documents = [], []
    for name in chosen.only or BENCHMARKS:
        command = [sys.executable, str(HERE / f"{name}.py"), *flags]
        done = subprocess.run(
            command, stdout=subprocess.PIPE if chosen.json else None, text=True, check=False
        )
        if chosen.json and done.stdout:
            documents.append(json.loads(done.stdout.splitlines()[-1]))
        failed += [name] if done.returncode else []
    if chosen.json:
        sys.stdout.write(json.dumps(documents) + "\n")
    if failed:
        sys.exit(f"missed what is promised, or failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
