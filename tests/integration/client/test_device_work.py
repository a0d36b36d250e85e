"""A device's work over cuts, restarts and damage: nothing is lost, nothing is trained twice."""

from __future__ import annotations

import os
import random
import signal
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from device_processes import Device, joined_device
from fake_manager import FakeServer, Work, eventually

from fedops.client.device.enrolment import join
from fedops.client.local.status import client_status
from fedops.core.errors import Invalid, Unavailable
from fedops.storage.tensors import Tensors

LARGE: Tensors = {"packed": np.random.default_rng(0).normal(size=400_000).astype(np.float32)}


def ready(device: Device, *options: str, **env: str) -> FakeServer:
    device.start(*options, **env)
    device.until("idle")
    return device.server


def armed(device: Device, folder: Path, name: str, action: str = "kill") -> dict[str, str]:
    """The environment in which the process that comes by this point dies or waits."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.armed").write_text(f"{action}@1")
    return {"FEDOPS_FAILPOINTS": str(folder)}


def sums(work: Work) -> Any:
    return work.payload.arrays["arrays"]["packed"] - 1


# --- calls of a round ------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "most"), [(0, 4), (300_000, 5)], ids=["small", "large"])
def test_the_calls_of_a_round(device: Device, noise: int, most: int) -> None:
    server = ready(device)
    device.deliver(server.ask(7, 1, noise_bytes=noise))
    before = server.calls.copy()
    device.deliver(server.ask(7, 2, model={"packed": np.ones(9, np.float32)}, noise_bytes=noise))
    apart = ("told_records", "told_progress")
    calls = {k: n - before[k] for k, n in server.calls.items() if k not in apart and n > before[k]}
    calls["work"] = min(calls["work"], 1)  # waiting polls apart
    assert sum(calls.values()) <= most, calls


def test_a_model_that_is_here_is_not_fetched_again(device: Device) -> None:
    server = ready(device)
    for round_ in (1, 2, 3):
        device.deliver(server.ask(7, round_))
    assert server.calls["blob"] == 1
    (model,) = (device.home / "models").glob("*/*.safetensors")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    work = device.deliver(server.ask(7, 4))
    assert server.calls["blob"] == 2  # it was damaged on the disk
    assert sums(work)[:3].tolist() == [0, 1, 2]
    for value in range(4):
        device.deliver(server.ask(7, 5 + value, model={"packed": np.full(9, value, np.float32)}))
    assert len(list((device.home / "models").glob("*/*.safetensors"))) == 2


# --- downloads -------------------------------------------------------------------------------------


def test_a_download_that_is_cut_goes_on_from_the_last_byte(device: Device) -> None:
    rng = random.Random(1)
    server = ready(device, "retry=0.05")
    server.cut_downloads = [rng.randrange(1, 400_000) for _ in range(5)]
    work = device.deliver(server.ask(7, 1, model=LARGE))
    np.testing.assert_array_equal(sums(work), (LARGE["packed"] + 1) - 1)
    assert server.calls["blob"] == 6
    assert device.trainings() == 1


def test_a_download_that_arrives_damaged_is_fetched_again(device: Device) -> None:
    server = ready(device)
    server.spoil_downloads = 2
    device.deliver(server.ask(7, 1))
    assert server.calls["blob"] == 3
    server.spoil_downloads = 3
    work = server.ask(7, 2, model={"packed": np.ones(9, np.float32)})
    eventually(lambda: work.end)
    assert work.end is not None
    assert "arrived damaged 3 times" in work.end["reason"]
    assert "damaged on the server" in work.end["reason"]


def test_the_manager_is_killed_in_mid_download(device: Device) -> None:
    server = ready(device)
    server.slow = 1.0 / 800_000
    work = server.ask(7, 1, model=LARGE)
    eventually(lambda: any(p.stat().st_size > 200_000 for p in parts(device)))
    device.started[-1].process.kill()
    device.started[-1].process.wait()
    (part,) = parts(device)
    kept = part.stat().st_size
    server.slow = 0.0
    device.start()
    device.deliver(work)
    assert server.calls["blob"] == 2
    assert kept > 200_000
    assert server.calls["instruction"] == 1


def parts(device: Device) -> list[Path]:
    return list((device.home / "models").glob("*/*.part"))


# --- uploads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["none", "zstd"])
def test_an_upload_that_is_cut_goes_on_from_the_last_byte(device: Device, encoding: str) -> None:
    rng = random.Random(2)
    server = ready(device, "retry=0.05")
    server.encodings = [encoding, "none"]
    cuts = [rng.randrange(1, 150_000) for _ in range(5)]
    server.cut_uploads = list(cuts)
    work = device.deliver(server.ask(7, 1, noise_bytes=1_000_000))
    assert work.encoding == encoding
    assert device.trainings() == 1
    assert work.payload.arrays["arrays"]["noise"].size == 1_000_000
    calls = server.calls["create_upload"] + server.calls["offset"] + server.calls["append"]
    assert calls <= 1 + 2 * len(cuts)


def test_the_answer_to_a_delivery_is_lost(device: Device) -> None:
    server = ready(device)
    for round_, noise in ((1, 0), (2, 300_000)):
        server.lose_deliveries = 1
        work = device.deliver(server.ask(7, round_, noise_bytes=noise))
        eventually(lambda w=work: not server.holds(w))
    assert device.trainings() == 2
    device.deliver(server.ask(7, 3))
    eventually(lambda: not list((device.home / "work").iterdir()))


@pytest.mark.parametrize(
    "point", ["manager.work.finished", "manager.upload.begin", "manager.upload.done"]
)
def test_the_manager_dies_with_a_finished_result(
    device: Device, tmp_path: Path, point: str
) -> None:
    ready(device, **armed(device, tmp_path / "points", point))
    work = device.server.ask(7, 1, noise_bytes=300_000)
    device.started[-1].process.wait(20)
    device.start()
    device.deliver(work)
    assert device.trainings() == 1
    eventually(lambda: not list((device.home / "work").iterdir()))


def test_the_training_client_dies_before_it_can_say_that_it_is_done(device: Device) -> None:
    """The result lies on the disk: it is found there."""
    work = ready(device).ask(7, 1, die_after_writing=9)
    device.deliver(work)
    assert device.trainings() == 1


def test_a_result_that_was_damaged_on_the_disk_is_made_again(device: Device) -> None:
    server = ready(device)
    server.slots = False
    work = server.ask(7, 1, noise_bytes=300_000)
    eventually(lambda: "waiting_to_upload" in server.stages())
    (result,) = (device.home / "work").glob("*/result.safetensors")
    device.started[-1].process.kill()
    device.started[-1].process.wait()
    result.write_bytes(result.read_bytes()[:-1] + b"x")
    server.slots = True
    device.start()
    device.deliver(work)
    assert device.trainings() == 2


def test_a_server_that_is_gone_for_a_while_gets_the_result_later(device: Device) -> None:
    server = ready(device)
    work = server.ask(7, 1, seconds=0.5, noise_bytes=300_000)
    eventually(device.trainings)
    server.unreachable = True
    eventually(lambda: "waiting to upload" in client_status(device.home).why)
    assert "cannot reach" in client_status(device.home).held[0].doing
    server.unreachable = False
    device.deliver(work)
    assert device.trainings() == 1


def test_uploads_wait_for_their_slot(device: Device) -> None:
    server = ready(device)
    server.slots = False
    work = server.ask(7, 1, noise_bytes=300_000)
    eventually(lambda: server.calls["slot"] >= 3)
    assert "waiting to upload" in client_status(device.home).why
    server.slots = True
    device.deliver(work)


def test_who_is_turned_away_stands_in_line_again(device: Device) -> None:
    server = ready(device)
    server.busy_uploads = 1
    device.deliver(server.ask(7, 1, noise_bytes=300_000))
    assert server.calls["slot"] == 2


# --- epochs ----------------------------------------------------------------------------------------


def test_a_kill_in_mid_epoch_repeats_less_than_one(device: Device) -> None:
    server = ready(device)
    work = server.ask(7, 1, long_epochs=5)
    eventually(lambda: len(device.epochs()) == 2)
    time.sleep(0.1)
    os.kill(device.child(), signal.SIGKILL)
    device.deliver(work)
    assert device.epochs() == [1, 2, 3, 4, 5]
    eventually(lambda: not list((device.home / "epochs").glob("*/*")))
    assert "training" in server.stages()


def test_a_pause_keeps_the_epochs_and_a_stop_does_not(device: Device) -> None:
    server = ready(device)
    for checkpoint, expected in ((True, [1, 2, 3, 4]), (False, [1, 2, 1, 2, 3, 4])):
        (device.app / "epochs").unlink(missing_ok=True)
        key = f"work-{checkpoint}"
        work = server.ask(7, 1, work_key=key, long_epochs=4)
        eventually(lambda: len(device.epochs()) == 2)
        child = device.child()
        server.cancel(work, "the run was paused", checkpoint=checkpoint)
        eventually(lambda w=work: not server.holds(w), 5.0)
        assert device.child() == child  # asked, not ended
        device.deliver(server.ask(7, 1, work_key=key, long_epochs=4))
        assert device.epochs() == expected


def test_the_stages_are_seen(device: Device) -> None:
    server = ready(device)
    server.slow = 1.0 / 1_000_000
    work = server.ask(7, 1, model=LARGE, long_epochs=8)
    said: set[str] = set()
    while work.status != "uploaded":
        said |= {held.doing for held in client_status(device.home).held}
        time.sleep(0.02)
    assert any(text.startswith("downloading ") and text.endswith("% of 1.6 MB") for text in said), (
        said
    )
    assert "training epoch 2 of 8" in said
    assert any(text.startswith("uploading ") for text in said)
    assert {"downloading", "training", "uploading"} <= server.stages()


# --- ends ------------------------------------------------------------------------------------------


def test_refused_and_failed_say_why(device: Device) -> None:
    server = ready(device)
    refused = server.ask(7, 1, refuse="the model differs")
    failed = server.ask(7, 1, fail="ValueError: bad shape")
    eventually(lambda: refused.end and failed.end)
    assert refused.end == {"outcome": "refused", "reason": "the model differs", "code": 0}
    assert failed.end == {"outcome": "failed", "reason": "ValueError: bad shape", "code": 2}
    device.deliver(server.ask(7, 2))


def test_work_that_is_over_is_dropped(device: Device) -> None:
    server = ready(device)
    server.slots = False
    work = server.ask(7, 1, noise_bytes=300_000)
    eventually(lambda: server.calls["slot"])
    work.status = "expired"
    eventually(lambda: not list((device.home / "work").iterdir()))
    server.slots = True
    device.deliver(server.ask(7, 2))
    assert work.status == "expired"
    assert work.data is None


def test_a_cancelled_download_stops(device: Device) -> None:
    server = ready(device)
    server.slow = 1.0 / 100_000
    work = server.ask(7, 1, model=LARGE)
    eventually(lambda: parts(device))
    server.cancel(work)
    eventually(lambda: not server.holds(work), 5.0)
    assert device.trainings() == 0
    server.slow = 0.0
    device.deliver(server.ask(7, 2, model=LARGE))


def test_no_more_at_once_than_the_owner_allows(device: Device) -> None:
    server = ready(device)
    first, second = server.ask(7, 1, seconds=1), server.ask(8, 1)
    eventually(device.trainings)
    time.sleep(0.5)
    assert not any(server.holds(work) for work in (second,))
    assert second.status == "offered"
    polls = len(server.polls)
    device.deliver(first)
    device.deliver(second)
    assert len(server.polls) - polls < 12
    assert device.trainings() == 2


def test_two_at_once_where_the_owner_allows_them(device: Device) -> None:
    (device.home / "device.toml").write_text("[limits]\nassignments = 2\n")
    server = ready(device)
    works = [server.ask(run, 1, seconds=0.5) for run in (7, 8, 9)]
    eventually(lambda: server.holds(works[0]) and server.holds(works[1]))
    assert works[2].status == "offered"
    for work in works:
        device.deliver(work)


# --- the network -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("prefix", "host"), [("/fedops/a", "127.0.0.1"), ("", "::1")])
def test_path_prefixes_and_ipv6(tmp_path: Path, prefix: str, host: str) -> None:
    with joined_device(tmp_path, prefix, host) as device:
        server = ready(device)
        server.cut_uploads = [50_000]
        work = device.deliver(server.ask(7, 1, noise_bytes=200_000))
        assert server.cut_uploads == []
        assert len(work.data) > 200_000


def test_a_private_ca_is_one_setting(tmp_path: Path) -> None:
    ca_file, tls = private_ca(tmp_path)
    with joined_device(tmp_path, tls=tls, ca_file=ca_file) as device:
        server = ready(device, FEDOPS_CLIENT_CA_FILE=str(ca_file))
        device.deliver(server.ask(7, 1, noise_bytes=200_000))
        with pytest.raises(Unavailable, match="certificate"):
            join(device.url, "good", "pi-2", tmp_path / "other", patience=0)
        with pytest.raises(Invalid, match="CA file"):
            join(device.url, "good", "pi-2", tmp_path / "other", ca_file=tmp_path / "none.pem")


def private_ca(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate authority of a hospital's own, and a server on 127.0.0.1 with its word."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a private CA")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    ca_file, key_file = folder / "ca.pem", folder / "key.pem"
    ca_file.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca_file, key_file)
    return ca_file, context


def test_a_clock_that_is_an_hour_off_does_no_harm(device: Device, tmp_path: Path) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(
        "import time\nreal = time.time\ntime.time = lambda: real() - 3600\n"
    )
    path = os.pathsep.join([str(tmp_path / "clock"), os.environ.get("PYTHONPATH", "")])
    server = ready(device, PYTHONPATH=path)
    device.deliver(server.ask(7, 1, noise_bytes=200_000, long_epochs=2))
    eventually(lambda: "loss" in server.order)
    loss = next(r for r in server.records.values() if r["name"] == "loss")
    assert loss["age_seconds"] < 60
