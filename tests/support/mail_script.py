"""A mail server that says what it is told to, or nothing at all."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

USUAL = {
    "greeting": "220 mail.test",
    "EHLO": "250-mail.test\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250 SIZE 100000",
    "MAIL": "250 OK",
    "RCPT": "250 OK",
    "DATA": "354 go on",
    "content": "250 taken",
    "RSET": "250 OK",
    "NOOP": "250 OK",
    "QUIT": "221 bye",
    "STARTTLS": "220 go on",
    "AUTH": "235 welcome",
}
SILENCE = "silence"
HANG_UP = "hang up"


class MailScript:
    """Answers by command, ``greeting`` and ``content`` (what follows DATA) included."""

    def __init__(self, answers: Mapping[str, str]) -> None:
        self.answers = {**USUAL, **answers}
        self.once: dict[str, str] = {}
        self.heard: list[str] = []
        self.contents: list[bytes] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if await self._say("greeting", writer):
                while line := await reader.readline():
                    command = line.decode("latin-1").split(" ")[0].strip().upper()
                    self.heard.append(line.decode("latin-1").strip())
                    if not await self._say(command, writer):
                        return
                    if command == "STARTTLS" and self.answers[command].startswith("220"):
                        await reader.read()  # and no handshake follows
                    if command == "DATA" and self.answers["DATA"].startswith("354"):
                        self.contents.append(await reader.readuntil(b"\r\n.\r\n"))
                        if not await self._say("content", writer):
                            return
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _say(self, what: str, writer: asyncio.StreamWriter) -> bool:
        answer = self.once.pop(what, None) or self.answers.get(what, "500 what?")
        if answer == HANG_UP:
            return False
        if answer != SILENCE:
            writer.write(f"{answer}\r\n".encode())
            await writer.drain()
        return True


@asynccontextmanager
async def mail_script(**answers: str) -> AsyncIterator[MailScript]:
    """Run a :class:`MailScript`."""
    script = MailScript(answers)
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    async with server:
        yield script
