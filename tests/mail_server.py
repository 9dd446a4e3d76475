"""A mail server on the loopback interface: real SMTP, with TLS and sign-in, and the refusals a test asks for.

    with MailServer(folder, security="starttls", password="s3cret") as server:
        bed.settings |= server.settings()
        bed.environment |= server.environment()
        bed.run("--mail-test")
        (mail,) = server.mails

What a test asks to be refused is answered with these words; `silent_at` names commands that are never answered, and one
that drips does not even come to the end of its greeting.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from google_server import certificates

HOST = "localhost"
USER = "staff-sync"


@dataclass(frozen=True)
class Mail:
    """One mail as it came: how it was addressed outside, and what it is."""

    sender: str
    recipients: tuple[str, ...]
    greeting: str  # the name the client gave itself
    raw: bytes
    was_encrypted: bool

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.raw, policy=email.policy.default)

    def part(self, kind: str) -> str:
        """The text of the part of this kind, "plain" or "html"."""
        found = self.message.get_body((kind,))
        assert found is not None, self.raw
        return str(found.get_content()).replace("\r\n", "\n")


class Listening(SMTP):
    """Keeps what comes in clear."""

    def data_received(self, data: bytes) -> None:
        if self.transport is None or self.transport.get_extra_info("ssl_object") is None:
            self.event_handler.in_clear += data
        super().data_received(data)


class Dripping(asyncio.Protocol):
    """Greets for ever, a letter at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport) and not transport.is_closing():
            transport.write(b"2")
            self.loop.call_later(0.05, self.connection_made, transport)


class MailServer:
    """`security` as SMTP_SECURITY has it; a server with a password wants a sign-in."""

    def __init__(
        self,
        folder: Path,
        *,
        security: str = "none",
        password: str = "",
        offers_sign_in: bool = True,
        refused: Mapping[str, str] | None = None,
        silent_at: str = "",
        drips: bool = False,
        hosts: tuple[str, ...] = (HOST,),
    ) -> None:
        self.security, self.password, self.offers_sign_in = security, password, offers_sign_in
        self.refused, self.silent_at, self.drips = dict(refused or {}), silent_at, drips
        self.mails: list[Mail] = []
        self.sign_ins: list[tuple[str, str]] = []
        self.in_clear = b""
        ca, own = certificates(hosts)
        self.ca_file, own_file = folder / "mail-ca.pem", folder / "mail-own.pem"
        self.ca_file.write_bytes(ca)
        own_file.write_bytes(own)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(own_file)
        own_file.unlink()
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # of clients that go without a word
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> MailServer:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _open(self) -> asyncio.Server:
        context = self._context if self.security == "tls" else None
        return await asyncio.get_running_loop().create_server(self._protocol, "127.0.0.1", 0, ssl=context)

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _protocol(self) -> asyncio.BaseProtocol:
        if self.drips:
            return Dripping(self._loop)
        if self.silent_at == "greeting":
            return asyncio.Protocol()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a server that takes passwords in clear: whether they come is the test
            return Listening(
                self,
                hostname="mail.stand-in",
                tls_context=self._context if self.security == "starttls" else None,
                auth_require_tls=self.security == "starttls",
                auth_required=bool(self.password),
                auth_exclude_mechanism=() if self.offers_sign_in else ("LOGIN", "PLAIN"),
                authenticator=self._sign_in,
                loop=self._loop,
            )

    def settings(self) -> dict[str, object]:
        return {
            "MAIL_TO": ["it@d118.org"], "MAIL_FROM": "staff-sync@d118.org", "SMTP_HOST": HOST,
            "SMTP_PORT": self.port, "SMTP_SECURITY": self.security,
        }  # fmt: skip

    def environment(self) -> dict[str, str]:
        """With it the client trusts this server, and signs in where that is wanted."""
        sign_in = {"SMTP_USER": USER, "SMTP_PASSWORD": self.password} if self.password else {}
        return {"SSL_CERT_FILE": str(self.ca_file), **sign_in}

    # What the protocol asks.

    def _sign_in(self, _server: SMTP, _session: Session, _envelope: Envelope, _way: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        self.sign_ins.append((given.login.decode(), given.password.decode()))
        is_right = given.password.decode() == self.password
        return AuthResult(success=is_right, handled=False, message=self.refused.get("AUTH"))

    async def _answer(self, command: str, usual: str) -> str:
        if self.silent_at == command:
            await asyncio.Event().wait()
        return self.refused.get(command, usual)

    async def handle_MAIL(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        envelope.mail_from = address
        return await self._answer("MAIL", "250 OK")

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address not in self.refused:
            envelope.rcpt_tos.append(address)
        return await self._answer(address, "250 OK")

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = await self._answer("DATA", "250 2.0.0 queued as 4711")
        if answer.startswith("250") and isinstance(envelope.content, bytes):
            greeting, recipients = session.host_name or "", tuple(envelope.rcpt_tos)
            is_encrypted = self.security == "tls" or session.ssl is not None
            sender = envelope.mail_from or ""
            self.mails.append(Mail(sender, recipients, greeting, envelope.content, is_encrypted))
        return answer

    async def handle_QUIT(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        return await self._answer("QUIT", "221 Bye")
