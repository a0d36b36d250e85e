"""What is sent, and to which addresses it may be."""

from __future__ import annotations

import hashlib
import hmac
import json
from email import message_from_bytes, policy

import pytest

from fedops.core.contracts import ChannelCreate, MailServer
from fedops.core.errors import Invalid
from fedops.core.states import ChannelKind
from fedops.server.notifications import bodies
from fedops.server.notifications.channels import require_sound, shown_address
from fedops.server.notifications.outbox import Claimed

BASE, SECRET = "https://fl.example.org", "a secret of sixteen letters"
MAIL = MailServer(host="mail.example.org", user="fl", sender="fl@example.org", to=["a@example.org"])
HOOK = "https://hooks.example.org/services/T0/B0/abcdefWXYZ"


def message(**more: object) -> Claimed:
    values = {
        "id": 1, "claim": "c", "channel": "ops", "kind": ChannelKind.WEBHOOK, "address": "",
        "mail": None, "secret": "", "delivery": "d1", "rule": "run_failed", "over": False,
        "subject": "run 7", "task": "mnist", "run_id": 7, "device": None,
        "sentence": "Run 7 of mnist failed", "page": "/runs/7", "command": "fedops run show 7",
        "at": 1_000.0,
    }  # fmt: skip
    return Claimed(**{**values, **more})  # type: ignore[arg-type]


def test_a_webhook_gets_a_signed_document() -> None:
    body = bodies.webhook_body(message(), BASE)
    assert json.loads(body) == {
        "version": 1, "id": "d1", "rule": "run_failed", "resolved": False, "test": False,
        "subject": "run 7", "task": "mnist", "run": 7, "device": None,
        "sentence": "Run 7 of mnist failed", "link": "https://fl.example.org/runs/7",
        "command": "fedops run show 7", "at": 1_000.0,
    }  # fmt: skip
    headers = bodies.webhook_headers(message(), body, SECRET, 1_234.9)
    by_hand = hmac.new(SECRET.encode(), b"1234." + body, hashlib.sha256).hexdigest()
    assert headers == {
        "X-FedOps-Id": "d1",
        "X-FedOps-Timestamp": "1234",
        "X-FedOps-Signature": f"sha256={by_hand}",
    }
    assert "X-FedOps-Signature" not in bodies.webhook_headers(message(), body, "", 1.0)


def test_names_are_no_markup_for_slack() -> None:
    text = json.loads(bodies.slack_body(message(sentence="Run <!channel> & more"), BASE))["text"]
    first, link, command = text.splitlines()
    assert first == "FedOps: Run &lt;!channel&gt; &amp; more"
    assert (link, command) == ("https://fl.example.org/runs/7", "`fedops run show 7`")


def test_no_name_makes_a_header_of_a_mail() -> None:
    evil = "Device x\r\nBcc: all@example.org\n\nhello is lost " + "y" * 300
    made = bodies.mail_of(message(sentence=evil), MAIL, BASE)
    read = message_from_bytes(made.as_bytes(), policy=policy.default)
    assert read["Bcc"] is None
    assert read["Subject"].startswith("FedOps: Device x Bcc: all@example.org hello is lost yy")
    assert len(read["Subject"]) <= 120
    assert (read["From"], read["To"]) == ("fl@example.org", "a@example.org")
    text = read.get_content()
    assert "See https://fl.example.org/runs/7\nOr type: fedops run show 7" in text


def channel(kind: str, **more: object) -> ChannelCreate:
    return ChannelCreate.model_validate({"name": "ops", "kind": kind, **more})


def mail(**more: object) -> dict[str, object]:
    return {**MAIL.model_dump(), **more}


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("webhook", {"url": "https://user:word@example.org/x"}, "must not hold a user"),
        ("webhook", {"url": "https://example.org/x?token=abc"}, "holds a secret"),
        ("webhook", {"url": "http://example.org/x"}, "unencrypted"),
        ("webhook", {"url": "http://8.8.8.8/x"}, "unencrypted"),
        ("webhook", {"url": "file:///etc/passwd"}, "is no URL"),
        ("webhook", {"url": "https://example.org/a b"}, "no space"),
        ("webhook", {"url": ""}, "is no URL"),
        ("webhook", {"url": "https://example.org", "secret": "short"}, "fewer than 16"),
        ("webhook", {"url": "https://example.org", "mail": mail()}, "no mail server"),
        ("slack", {}, "needs its URL"),
        ("slack", {"secret": "http://hooks.example.org/abc"}, "the secret URL begins with"),
        ("slack", {"secret": HOOK, "url": HOOK}, "its URL is its secret"),
        ("email", {}, "needs a mail server"),
        ("email", {"mail": mail(sender="fl@example.org\nBcc: x@y.z")}, "no e-mail address"),
        ("email", {"mail": mail(to=["a@b.example", "nobody"])}, "'nobody' is no e-mail address"),
        ("email", {"mail": mail(host="mail example")}, "no name and no address"),
        ("email", {"mail": mail(security="none")}, "in the clear"),
        ("email", {"mail": mail(user=""), "secret": "word"}, "no user"),
    ],
)
def test_where_nothing_may_go(kind: str, given: dict[str, object], said: str) -> None:
    with pytest.raises(Invalid) as refused:
        require_sound(channel(kind, **given))
    assert said in refused.value.message
    assert "abcdef" not in refused.value.message


@pytest.mark.parametrize(
    ("kind", "given", "shown"),
    [
        ("webhook", {"url": "https://example.org/x?for=fl"}, "https://example.org/x?for=fl"),
        ("webhook", {"url": "http://127.0.0.1:9/x"}, "http://127.0.0.1:9/x"),
        ("webhook", {"url": "http://10.0.0.7/x", "secret": SECRET}, "http://10.0.0.7/x"),
        ("webhook", {"url": "http://a.example/x", "unencrypted": True}, "http://a.example/x"),
        ("slack", {"secret": HOOK}, "hooks.example.org, …WXYZ"),
        ("email", {"mail": mail(to=["a@b.example", "c@b.example"])}, "a@b.example and 1 more"),
    ],
)
def test_where_messages_may_go(kind: str, given: dict[str, object], shown: str) -> None:
    made = channel(kind, **given)
    require_sound(made)
    assert shown_address(made) == shown
    assert SECRET not in repr(made)
    assert HOOK not in repr(made)
