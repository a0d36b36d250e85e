"""Somebody on the way: shows a certificate of its own, reads everything, and passes it on to the server.

A program, for it runs on a machine of its own: ``middleman.py ADDRESS PORT SERVER FOLDER``. What it could
read is in ``FOLDER/heard``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from functools import partial
from pathlib import Path

from doorway import private_authority


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Path) -> None:
    with contextlib.suppress(OSError):
        while block := await reader.read(1 << 16):
            with heard.open("ab") as file:
                file.write(block)
            writer.write(block)
            await writer.drain()
    writer.close()


async def _between(
    server: str,
    port: int,
    heard: Path,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    anybody = ssl.create_default_context()
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    far_reader, far_writer = await asyncio.open_connection(server, port, ssl=anybody)
    await asyncio.gather(
        _carry(reader, far_writer, heard), _carry(far_reader, writer, heard.with_name("answers"))
    )


async def main(address: str, port: int, server: str, folder: Path) -> None:
    _, tls = private_authority(folder, address)
    serve = partial(_between, server, port, folder / "heard")
    async with await asyncio.start_server(serve, address, port, ssl=tls) as door:
        (folder / "up").touch()
        await door.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))
