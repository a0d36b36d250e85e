"""nginx on a free port of loopback, with ``deploy/nginx.conf``, before a server of a test."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedops.processes.spawn import spawn, tethered

CONFIG = Path(__file__).parents[2] / "deploy" / "nginx.conf"
PROGRAM = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/opt/homebrew/bin")
MISSING = "there is no nginx (apt-get install nginx-light)"
ACCEL_PREFIX = "/fedops-files"
_MAIN = """
daemon off;
worker_processes 1;
{user}
error_log {folder}/error.log;
pid {folder}/pid;
events {{ worker_connections 512; }}
http {{
    log_format who '$remote_addr [$time_local] "$request" $status $body_bytes_sent to $upstream_addr';
    access_log {folder}/access.log who;
    client_body_temp_path {folder}/bodies;
    proxy_temp_path {folder}/answers;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/fedops.conf;
}}
"""


@dataclass(frozen=True)
class Nginx:
    """Where it is, and the certificate that it is known by."""

    url: str
    ca_file: Path
    folder: Path


@contextmanager
def nginx(
    folder: Path,
    server_port: int,
    files: Path,
    file_servers: Sequence[int] = (),
    more_servers: Sequence[int] = (),
) -> Iterator[Nginx]:
    """nginx before the server on a port, whose stored files are in ``files``, and before two file servers.

    ``more_servers``: others of the same database, which get every second call, or third.
    """
    assert PROGRAM
    folder.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    certificate, key = _certify(folder)
    places = {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server 127.0.0.1:8600": "; server ".join(
            f"127.0.0.1:{one} max_fails=0" for one in (server_port, *more_servers)
        ).join(("server ", "")),
        "fedops.example.org": "127.0.0.1",
        "/etc/ssl/certs/fedops.pem": str(certificate),
        "/etc/ssl/private/fedops.key": str(key),
        "/var/lib/fedops/server/artifacts": str(files),
    }
    text = CONFIG.read_text()
    if file_servers:
        text = re.sub(r"(?m)^#\|", "", text)
        written_there = ("server 127.0.0.1:8611", "server 127.0.0.1:8612")
        here = [f"server 127.0.0.1:{port}" for port in file_servers]
        places |= dict(zip(written_there, here, strict=True))
    for written, here in places.items():
        assert re.search(rf"^ *[^#\n]*{re.escape(written)}", text, re.MULTILINE), written
        text = text.replace(written, here)
    (folder / "fedops.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
    command = [PROGRAM, "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with (folder / "out").open("wb") as out:
        process = spawn(
            tethered([*command, "-e", str(folder / "error.log")]), stdout=out, stderr=out
        )
    try:
        _until_it_answers(port, folder)
        yield Nginx(f"https://127.0.0.1:{port}", certificate, folder)
    finally:
        process.terminate()
        process.wait(10)
        if process.stdin is not None:
            process.stdin.close()


def _until_it_answers(port: int, folder: Path) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError((folder / "out").read_text())


def _certify(folder: Path) -> tuple[Path, Path]:
    """A certificate for loopback, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return certificate, private
