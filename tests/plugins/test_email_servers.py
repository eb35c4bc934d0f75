"""Mail servers that want TLS and a login, and the guard in front of them."""

from __future__ import annotations

import asyncio
import base64
import gc
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.smtp import LoginPassword
from pydantic import ValidationError

from pulse_core.api import OutboundRefused, PermanentFailure, PulseError, TemporaryFailure
from pulse_core.outbound import Outbound
from pulse_core.outbound.contact import noting
from pulse_core.testing.channels import LOOPBACK, a_notification
from support.certificates import Authority
from support.mail_script import HANG_UP, SILENCE, mail_script
from support.mail_server import mail_server
from support.mailing import config, mailing
from support.names import Names
from support.waiting import until

if TYPE_CHECKING:
    import socket
    from pathlib import Path

ACCOUNT = LoginPassword(b"pulse", b"s3cr3t-password")
LOGIN: dict[str, Any] = {"user": "pulse", "password": "s3cr3t-password"}
WAYS = ["starttls", "implicit"]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def _outbound(authority: Authority, names: Names | None = None) -> Outbound:
    return Outbound(LOOPBACK, tls=authority.client(), look_up=names or Names())


@pytest.mark.parametrize("tls", WAYS)
async def test_encrypted_and_logged_in(authority: Authority, tls: str) -> None:
    names = Names()
    context = authority.server("mail.test")
    async with (
        mail_server(tls=context, implicit=tls == "implicit", account=ACCOUNT) as server,
        mailing(server.port, host="mail.test", tls=tls, outbound=_outbound(authority, names), **LOGIN) as channel,
    ):
        for number in range(3):
            with noting() as contact:
                receipt = await channel.send(a_notification(delivery_id=f"d{number}"))
            assert (contact.address, contact.tls[:7]) == (f"127.0.0.1:{server.port}", "TLSv1.3")
        assert [(mail.encrypted, mail.user) for mail in server.mails] == [(True, "pulse")] * 3
        assert (server.logins, names.asked) == (1, ["mail.test"])
        assert "(127.0.0.1), TLSv1.3" in receipt


@pytest.mark.parametrize("tls", WAYS)
@pytest.mark.parametrize(
    ("name", "valid_days", "why"),
    [("other.test", 1, "Hostname mismatch"), ("mail.test", -2, "certificate has expired")],
)
async def test_a_certificate_that_is_not_accepted(
    authority: Authority, tls: str, name: str, valid_days: int, why: str
) -> None:
    context = authority.server(name, valid_days=valid_days)
    async with (
        mail_server(tls=context, implicit=tls == "implicit", account=ACCOUNT) as server,
        mailing(server.port, host="mail.test", tls=tls, outbound=_outbound(authority), **LOGIN) as channel,
    ):
        with pytest.raises(TemporaryFailure, match=f"the certificate is not accepted: {why}"):
            await channel.send(a_notification())
        assert (server.logins, server.received) == (0, [])


@pytest.mark.parametrize("tls", WAYS)
async def test_a_certificate_of_nobody_we_trust(authority: Authority, tls: str) -> None:
    context = authority.server("mail.test")
    stranger = Outbound(LOOPBACK, tls=ssl.create_default_context(), look_up=Names())
    async with (
        mail_server(tls=context, implicit=tls == "implicit") as server,
        mailing(server.port, host="mail.test", tls=tls, outbound=stranger) as channel,
    ):
        with pytest.raises(TemporaryFailure, match="the certificate is not accepted"):
            await channel.send(a_notification())


async def test_no_starttls_is_never_the_clear() -> None:
    async with mail_script(EHLO="250-mail.test\r\n250 AUTH PLAIN") as script:
        async with mailing(script.port, tls="starttls", **LOGIN) as channel:
            with pytest.raises(PermanentFailure, match="does not offer STARTTLS"):
                await channel.send(a_notification())
        assert not [line for line in script.heard if line.startswith(("AUTH", "MAIL"))]


@pytest.mark.parametrize(
    ("answer", "failure", "why"),
    [
        ("454 4.7.0 TLS not available", TemporaryFailure, "454 4.7.0 TLS not available"),
        ("554 5.7.3 no", PermanentFailure, "554 5.7.3 no"),
        (HANG_UP, TemporaryFailure, "ended the connection"),
        (SILENCE, TemporaryFailure, "no answer in time"),
        ("220 go on", TemporaryFailure, "no answer in time"),
        ("220 go on\r\n250 injected", TemporaryFailure, "no answer in time"),
    ],
)
async def test_a_dead_starttls(
    answer: str, failure: type[PulseError], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_email.session._PATIENCE_S", 0.3)
    async with mail_script(STARTTLS=answer) as script:
        async with mailing(script.port, tls="starttls", **LOGIN) as channel:
            with pytest.raises(failure, match=why):
                await channel.send(a_notification())
        assert not [line for line in script.heard if line.startswith(("AUTH", "MAIL"))]


async def test_tls_at_once_with_a_server_that_speaks_in_the_clear() -> None:
    async with mail_server() as server, mailing(server.port, tls="implicit") as channel:
        with pytest.raises(TemporaryFailure, match="does this port want another kind of tls"):
            await channel.send(a_notification())


async def test_the_wrong_password(authority: Authority) -> None:
    context = authority.server("mail.test")
    wrong: dict[str, Any] = {"user": "pulse", "password": "wr0ng-password"}
    async with (
        mail_server(tls=context, account=ACCOUNT) as server,
        mailing(server.port, host="mail.test", tls="starttls", outbound=_outbound(authority), **wrong) as channel,
    ):
        with pytest.raises(PermanentFailure, match="login: 535") as caught:
            await channel.send(a_notification())
        assert "wr0ng" not in str(caught.value)
        assert server.received == []


LOGIN_ANSWERS = {
    "454 4.7.0 try later": TemporaryFailure,
    "421 4.7.0 too many logins": TemporaryFailure,
    "535 5.7.8 no": PermanentFailure,
    "534 5.7.9 app password needed": PermanentFailure,
    HANG_UP: TemporaryFailure,
}


@pytest.mark.parametrize(("answer", "failure"), LOGIN_ANSWERS.items())
async def test_what_a_login_is_answered(answer: str, failure: type[PulseError]) -> None:
    async with mail_script(AUTH=answer) as script, mailing(script.port, **LOGIN) as channel:
        with pytest.raises(failure) as caught:
            await channel.send(a_notification())
        assert answer == HANG_UP or answer in str(caught.value)


async def test_a_server_without_logins() -> None:
    async with mail_script(EHLO="250 mail.test") as script, mailing(script.port, **LOGIN) as channel:
        with pytest.raises(PermanentFailure, match="offers no login"):
            await channel.send(a_notification())


async def test_a_server_that_repeats_what_it_heard_gives_nothing_away() -> None:
    plain = base64.b64encode(b"\0pulse\0s3cr3t-password").decode()
    for echo in (plain, "s3cr3t-password", base64.b64encode(b"s3cr3t-password").decode()):
        async with mail_script(AUTH=f"535 bad command: AUTH PLAIN {echo}") as script:
            async with mailing(script.port, **LOGIN) as channel:
                with pytest.raises(PermanentFailure) as caught:
                    await channel.send(a_notification())
            assert echo not in str(caught.value)
            assert caught.value.__cause__ is None
        async with mail_script(content=f"250 taken from {echo}") as script, mailing(script.port, **LOGIN) as channel:
            assert echo not in await channel.send(a_notification())


async def test_the_guard_is_asked_first(authority: Authority) -> None:
    async with mail_server() as server:
        for host, outbound in {
            "127.0.0.1": Outbound(),
            "mail.test": Outbound(look_up=Names("127.0.0.1")),
            "both.test": Outbound(look_up=Names("93.184.216.34", "10.0.0.1")),
        }.items():
            async with mailing(server.port, host=host, outbound=outbound) as channel:
                with pytest.raises(OutboundRefused):
                    await channel.send(a_notification())
        assert server.connections == []


async def test_a_name_that_does_not_resolve(authority: Authority) -> None:
    async with mailing(25, host="nowhere.test", outbound=Outbound(look_up=_nothing)) as channel:
        with pytest.raises(TemporaryFailure):
            await channel.send(a_notification())


async def _nothing(host: str, port: int) -> list[str]:
    return []


@pytest.mark.parametrize("command", ["greeting", "STARTTLS", "AUTH"])
async def test_interrupted_while_connecting(command: str) -> None:
    fields: dict[str, Any] = {"tls": "starttls" if command == "STARTTLS" else "none", **LOGIN}
    async with mail_script(**{command: SILENCE}) as script, mailing(script.port, **fields) as channel:
        sending = asyncio.create_task(channel.send(a_notification()))
        await until(lambda: script.connections and (command == "greeting" or script.heard[1:]))
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending


class Interrupting(Outbound):
    """Has whoever connects cancelled some rounds of the event loop after the connection is there."""

    after_rounds = 0

    async def open_socket(self, host: str, port: int, *, timeout_s: float = 10.0) -> socket.socket:
        sock = await super().open_socket(host, port, timeout_s=timeout_s)
        task = asyncio.current_task()
        assert task is not None
        self._cancel_later(task, self.after_rounds)
        return sock

    def _cancel_later(self, task: asyncio.Task[object], rounds: int) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._cancel_later, task, rounds - 1) if rounds else loop.call_soon(task.cancel)


@pytest.mark.parametrize("tls", ["none", "implicit", "starttls"])
@pytest.mark.parametrize("rounds", range(6))
async def test_interrupted_at_any_moment_leaves_no_socket(authority: Authority, tls: str, rounds: int) -> None:
    context = authority.server("mail.test") if tls != "none" else None
    outbound = Interrupting(LOOPBACK, tls=authority.client(), look_up=Names())
    outbound.after_rounds = rounds
    async with (
        mail_server(tls=context, implicit=tls == "implicit") as server,
        mailing(server.port, host="mail.test", tls=tls, outbound=outbound) as channel,
    ):
        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(channel.send(a_notification()))
        await channel.close()
        gc.collect()  # tells of sockets that were forgotten


def test_what_is_no_host() -> None:
    for host in ("", "smtp://x", "x:25", "a b", "x/y", "u@x", "[::1]", "x\ny", "x\x00"):
        with pytest.raises(ValidationError):
            config(host=host)
    for host in ("mail.example.com", "bücher.example", "::1", "192.0.2.1"):
        assert config(host=host).server[0] == host
