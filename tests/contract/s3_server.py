"""An S3 server that checks what S3 checks: OpenStack Swift with its ``s3api``, on free loopback ports.

It needs Debian's swift-proxy, swift-account, swift-container, swift-object and memcached, and a file system
with extended attributes below ``folder``.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from getpass import getuser
from pathlib import Path

import httpx
import obstore
import pytest

from fedops.storage.s3 import S3Bucket

PROGRAMS = (
    "swift-proxy-server",
    "swift-account-server",
    "swift-container-server",
    "swift-object-server",
    "swift-ring-builder",
    "memcached",
)
KEY, SECRET, REGION = "test:tester", "testing", "us-east-1"

PROXY = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
log_level = WARNING
log_address = {folder}/no-syslog
[pipeline:main]
pipeline = catch_errors cache listing_formats s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcached}
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = {region}
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
STORAGE = """
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_level = WARNING
log_address = {folder}/no-syslog
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
"""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server."""

    endpoint: str
    key: str = KEY
    secret: str = SECRET
    region: str = REGION


def missing_programs() -> list[str]:
    """What of it is not installed."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """A server of its own, which ends with the block."""
    names = ("account", "container", "object", "proxy", "memcached")
    ports = dict(zip(names, _free_ports(len(names)), strict=True))
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n")
    with ExitStack() as stack:
        stack.enter_context(_running(folder, _memcached(ports["memcached"])))
        for kind in names[:3]:
            text = STORAGE.format(port=ports[kind], folder=folder, kind=kind, user=getuser())
            stack.enter_context(_running(folder, _server(folder, kind, text)))
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda kind: _make_ring(folder, kind, ports[kind]), names[:3]))
        settings = {"folder": folder, "user": getuser(), "region": REGION, "secret": SECRET}
        text = PROXY.format(port=ports["proxy"], memcached=ports["memcached"], **settings)
        stack.enter_context(_running(folder, _server(folder, "proxy", text)))
        for port in ports.values():
            _wait_for(port, folder)
        yield S3Server(f"http://127.0.0.1:{ports['proxy']}")


@contextmanager
def s3_for_tests(folder: Path) -> Iterator[S3Server]:
    """The same with a bucket, or a skip that says what to install."""
    if missing := missing_programs():
        pytest.skip(f"needs {', '.join(missing)} (see .ci/run for the packages of Debian)")
    with s3_server(folder) as server:
        address = obstore.sign(bucket_of(server, "").open(), "PUT", "", timedelta(seconds=60))
        assert httpx.put(address).status_code == 200
        yield server


def bucket_of(server: S3Server, prefix: str) -> S3Bucket:
    """A part of the bucket of the tests."""
    return S3Bucket(
        bucket="fedops-tests",
        prefix=prefix,
        endpoint=server.endpoint,
        region=server.region,
        access_key_id=server.key,
        secret_access_key=server.secret,
    )


def _memcached(port: int) -> list[str]:
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", getuser(), "-m", "16"]


def _server(folder: Path, kind: str, text: str) -> list[str]:
    config = folder / f"{kind}.conf"
    config.write_text(text)
    return [f"swift-{kind}-server", str(config)]


def _make_ring(folder: Path, kind: str, port: int) -> None:
    builder = str(folder / f"{kind}.builder")
    for command in (["create", "4", "1", "1"], ["add", f"r1z1-127.0.0.1:{port}/d1", "1"]):
        subprocess.run(["swift-ring-builder", builder, *command], check=True, capture_output=True)
    done = subprocess.run(["swift-ring-builder", builder, "rebalance"], capture_output=True)
    assert done.returncode in (0, 1), done.stdout  # 1: it warns of a single device


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def _running(folder: Path, command: list[str]) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, folder: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise AssertionError((folder / "log").read_text()[-4_000:]) from None
            time.sleep(0.05)
