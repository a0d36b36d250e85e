"""What may stand before a server: a reverse proxy that strips a path, or one that ends TLS."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_HEAD_END = b"\r\n\r\n"
_REFUSED = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Doorway:
    """Carries each connection to a server. With a ``prefix``, requests for other paths are refused."""

    def __init__(
        self, host: str, port: int, prefix: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests = 0
        self._host, self._target, self._prefix, self._tls = host, port, prefix.encode(), tls
        self.port = 0

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._host, self._target)
        back = asyncio.create_task(_copy(far_reader, writer))
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
                while await self._request(reader, far_writer, writer):
                    pass
        finally:
            far_writer.transport.abort()
            writer.transport.abort()
            await asyncio.gather(back, return_exceptions=True)

    async def _request(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
    ) -> bool:
        head = await reader.readuntil(_HEAD_END)
        method, target, rest = head.split(b" ", 2)
        if not target.startswith(self._prefix + b"/"):
            client.write(_REFUSED)
            return False
        self.requests += 1
        server.write(b" ".join([method, target.removeprefix(self._prefix), rest]))
        left = _length(head)
        while left:
            block = await reader.read(min(left, 1 << 16))
            if not block:
                return False
            left -= len(block)
            server.write(block)
            await server.drain()
        return True


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while block := await reader.read(1 << 16):
            writer.write(block)
            await writer.drain()


@contextmanager
def opened(*doorways: Doorway) -> Iterator[None]:
    """While this is entered they carry."""
    loop, ended, begun = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def carry() -> None:
        servers = [await doorway.serve() for doorway in doorways]
        begun.set()
        await ended.wait()
        for server in servers:
            server.close()
        ours = asyncio.all_tasks() - {asyncio.current_task()}
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(carry()), daemon=True)
    thread.start()
    begun.wait(10.0)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(5.0)
        loop.close()


def private_authority(folder: Path, address: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """The certificate file of an authority nobody knows, and TLS for an address by it."""
    authority, signer = ec.generate_private_key(ec.SECP256R1()), _name("A hospital")
    ca = _certificate(signer, signer, authority, authority)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _certificate(_name("the server"), signer, key, authority, address)
    ca_file, chain = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain.write_bytes(secret + leaf.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return ca_file, context


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    address: str | None = None,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=address is None, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if address is not None:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        made = made.add_extension(names, critical=False)
    return made.sign(signer, hashes.SHA256())
