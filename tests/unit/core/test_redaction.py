"""No secret stays in a line that is logged."""

from __future__ import annotations

import pytest

from fedops.core.redaction import redact

SECRET = "Zk3_q-81aBcDeFgHiJkLmNoPqRsTuVwX"


@pytest.mark.parametrize(
    "line",
    [
        f"joined with fo_join_{SECRET}",
        f'{{"token": "fo_device_{SECRET}"}}',
        f"Authorization: Bearer {SECRET}",
        f"GET http://me:{SECRET}@host/x",
        f"postgresql+psycopg://fedops:{SECRET}@db/fedops",
        f"WANDB_API_KEY={SECRET}",
        f'wandb.key = "{SECRET}"',
        f"password: '{SECRET}'",
        f"client_secret={SECRET}&x=1",
        f"--token {'fo_admin_'}{SECRET}",
    ],
)
def test_secrets_go(line: str) -> None:
    assert SECRET not in redact(line)
    assert "***" in redact(line)


@pytest.mark.parametrize(
    "line",
    [
        "round 3: loss 0.25, accuracy 0.9",
        "a join token was used 3 times",
        "token: none",
        "tokenizer=bert-base-uncased",
        "max_tokens = 512",
        "http://127.0.0.1:8600/api/v1/runs/3",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert redact(line) == line
