"""Mails through a real server: who gets them, over which connections, and what is said of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import PermanentFailure, TemporaryFailure
from pulse_core.outbound.contact import noting
from pulse_core.testing.channels import a_notification
from pulse_email import pool as pool_module
from pulse_email.channel import EmailChannel
from support.mail_script import HANG_UP, SILENCE, mail_script
from support.mail_server import MailServer, mail_server
from support.mailing import BOSS, LOG, OPS, config, mailing
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BUSY, UNKNOWN = "450 4.2.1 mailbox busy", "550 5.1.1 no such user"
ALL: dict[str, Any] = {"to": [OPS], "cc": [BOSS], "bcc": [LOG]}


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    async with mail_server() as running:
        yield running


def _who(server: MailServer) -> list[tuple[str, ...]]:
    return [mail.recipients for mail in server.mails]


async def test_everybody_gets_one_mail(server: MailServer) -> None:
    async with mailing(server.port, to=[OPS, BOSS], cc=[BOSS], bcc=[LOG]) as channel:
        receipt = await channel.send(a_notification())
    assert _who(server) == [(OPS, BOSS, LOG)]
    assert server.mails[0].sender == "alerts@example.com"
    assert receipt.startswith(f"250 2.0.0 taken as 4711 from 127.0.0.1 port {server.port} (127.0.0.1), no TLS in ")


async def test_the_ledger_is_told_whom_a_kept_connection_goes_to(server: MailServer) -> None:
    async with mailing(server.port) as channel:
        for _ in range(2):
            with noting() as contact:
                await channel.send(a_notification())
            assert contact.address == f"127.0.0.1:{server.port}"
    assert len(server.connections) == 1


async def test_some_are_refused_for_good(server: MailServer) -> None:
    server.answers = {BOSS: UNKNOWN}
    async with mailing(server.port, **ALL) as channel:
        receipt = await channel.send(a_notification())
    assert _who(server) == [(OPS, LOG)]
    assert f"accepted: {OPS}, {LOG}" in receipt
    assert f"refused: {BOSS} ({UNKNOWN})" in receipt


async def test_who_has_the_mail_does_not_get_it_again(server: MailServer) -> None:
    server.answers = {BOSS: BUSY, LOG: UNKNOWN}
    async with mailing(server.port, **ALL) as channel:
        for _ in range(2):
            with pytest.raises(TemporaryFailure) as caught:
                await channel.send(a_notification())
            assert f"accepted: {OPS}; not yet: {BOSS} ({BUSY}); refused: {LOG} ({UNKNOWN})" in str(caught.value)
        server.answers = {}
        receipt = await channel.send(a_notification())
        assert f"accepted: {OPS}, {BOSS}; refused: {LOG} ({UNKNOWN})" in receipt
        assert _who(server) == [(OPS,), (BOSS,)]
        await channel.send(a_notification(delivery_id="another"))
    assert _who(server)[2] == (OPS, BOSS, LOG)


async def test_a_copy_is_no_delivery(server: MailServer) -> None:
    server.answers = {OPS: UNKNOWN}
    async with mailing(server.port, **ALL) as channel:
        with pytest.raises(PermanentFailure, match="no addressee in To takes it") as caught:
            await channel.send(a_notification())
        assert f"accepted: {BOSS}, {LOG}" in str(caught.value)
        server.answers = {OPS: UNKNOWN, BOSS: BUSY}
        with pytest.raises(TemporaryFailure):
            await channel.send(a_notification())
        server.answers = {}
        with pytest.raises(PermanentFailure, match=f"refused: {OPS}"):
            await channel.send(a_notification())
    assert _who(server) == [(BOSS, LOG), (LOG,), (BOSS,)]


@pytest.mark.parametrize(
    ("answers", "failure"),
    [
        ({OPS: UNKNOWN, BOSS: UNKNOWN, LOG: UNKNOWN}, PermanentFailure),
        ({OPS: BUSY, BOSS: UNKNOWN, LOG: UNKNOWN}, TemporaryFailure),
        ({OPS: "421 4.3.2 shutting down"}, TemporaryFailure),
        ({OPS: "552 5.2.2 mailbox full", BOSS: UNKNOWN, LOG: UNKNOWN}, PermanentFailure),
        ({OPS: "999 what", BOSS: UNKNOWN, LOG: UNKNOWN}, TemporaryFailure),
    ],
)
async def test_nobody_gets_it(
    server: MailServer, answers: dict[str, str], failure: type[TemporaryFailure | PermanentFailure]
) -> None:
    async with mailing(server.port, **ALL) as channel:
        server.answers = answers
        with pytest.raises(failure) as caught:
            await channel.send(a_notification())
        assert answers[OPS] in str(caught.value)
        server.answers = {}
        await channel.send(a_notification())
    assert len(server.mails) == 1


@pytest.mark.parametrize("command", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content"])
@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ("421 4.3.2 come back later", TemporaryFailure),
        ("451 4.3.0 not now", TemporaryFailure),
        ("554 5.7.1 never", PermanentFailure),
        (HANG_UP, TemporaryFailure),
        ("this is not SMTP", TemporaryFailure),
    ],
)
async def test_whatever_is_said_at_whatever_step(
    command: str, answer: str, failure: type[TemporaryFailure | PermanentFailure]
) -> None:
    async with mail_script(**{command: answer}) as script, mailing(script.port) as channel:
        with pytest.raises(failure) as caught:
            await channel.send(a_notification())
        assert str(script.port) in str(caught.value)
        if answer[0] in "45":
            assert answer in str(caught.value)


@pytest.mark.parametrize("command", ["greeting", "EHLO", "MAIL", "content"])
async def test_a_server_that_falls_silent(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_email.session._PATIENCE_S", 0.2)
    async with mail_script(**{command: SILENCE}) as script, mailing(script.port) as channel:
        with pytest.raises(TemporaryFailure, match="no answer in time"):
            await channel.send(a_notification())


async def test_one_connection_serves_many_mails(server: MailServer) -> None:
    async with mailing(server.port) as channel:
        for number in range(20):
            await channel.send(a_notification(delivery_id=f"d{number}"))
        assert len(server.connections) == 1
    assert len(server.mails) == 20


async def test_a_connection_is_replaced_before_servers_complain(server: MailServer) -> None:
    async with mailing(server.port, format="text") as channel:
        for number in range(150):
            await channel.send(a_notification(delivery_id=f"d{number}"))
    assert (len(server.connections), len(server.mails)) == (2, 150)


async def test_few_connections_serve_many_at_once(server: MailServer) -> None:
    async with mailing(server.port) as channel:
        await asyncio.gather(*(channel.send(a_notification(delivery_id=f"d{number}")) for number in range(20)))
        assert len(server.connections) <= 3
    assert len(server.mails) == 20


async def test_a_kept_connection_that_was_cut_costs_nothing(server: MailServer) -> None:
    async with mailing(server.port) as channel:
        await channel.send(a_notification(delivery_id="d1"))
        server.drop()
        await channel.send(a_notification(delivery_id="d2"))
    assert len(server.mails) == 2


@pytest.mark.parametrize("answer", ["421 4.4.2 idle for too long", HANG_UP])
async def test_a_kept_connection_that_the_server_gives_up(answer: str) -> None:
    async with mail_script() as script, mailing(script.port) as channel:
        await channel.send(a_notification(delivery_id="d1"))
        script.once["MAIL"] = answer
        await channel.send(a_notification(delivery_id="d2"))
    assert (script.connections, len(script.contents)) == (2, 2)


async def test_a_connection_that_rested_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_email.session._SURE_FOR_S", 0.0)
    monkeypatch.setattr("pulse_email.session._CHECK_S", 0.2)
    async with mail_script() as script, mailing(script.port) as channel:
        for number in range(2):
            await channel.send(a_notification(delivery_id=f"d{number}"))
        assert (script.connections, script.heard.count("NOOP")) == (1, 1)
        script.answers["NOOP"] = SILENCE  # its other end is gone, and nobody said so
        await channel.send(a_notification(delivery_id="d3"))
    assert (script.connections, len(script.contents)) == (2, 3)


async def test_an_idle_connection_is_closed_with_a_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_KEPT_FOR_S", 0.05)
    monkeypatch.setattr(pool_module.Pool.__init__, "__kwdefaults__", {"kept_for_s": 0.05})
    async with mail_script() as script, mailing(script.port) as channel:
        await channel.send(a_notification())
        await until(lambda: "QUIT" in script.heard)
        await channel.send(a_notification())
        assert script.connections == 2


async def test_closing_says_goodbye_and_leaves_no_socket(server: MailServer) -> None:
    async with mailing(server.port) as channel:
        await asyncio.gather(*(channel.send(a_notification(delivery_id=f"d{number}")) for number in range(5)))
    await until(lambda: all(connection.transport is None for connection in server.connections))


async def test_an_interrupted_mail_ends_its_connection(server: MailServer) -> None:
    server.mood = "silent"
    async with mailing(server.port) as channel:
        sending = asyncio.create_task(channel.send(a_notification()))
        await until(lambda: server.received)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await until(lambda: server.connections[0].transport is None)
        server.mood = "ok"
        await asyncio.gather(*(channel.send(a_notification(delivery_id=f"d{number}")) for number in range(5)))
    assert len(server.mails) == 5


async def test_a_template_that_does_not_work_out_tells_the_alert_all_the_same(server: MailServer) -> None:
    fields: dict[str, Any] = {"text_template": "{{ details.value|round }}", "format": "text"}
    async with mailing(server.port, **fields) as channel:
        receipt = await channel.send(a_notification(details={"value": "n/a"}))
        assert "the text template did not work out, the standard one was used" in receipt
        assert "pump-7" in server.mails[0].parsed.get_content()
        assert "template" not in await channel.send(a_notification(details={"value": 2.7}))
        assert server.mails[1].parsed.get_content().strip() == "3.0"


def test_the_endpoint_is_the_server() -> None:
    assert EmailChannel.endpoint(config(host="Mail.Example.COM.", port=2525)) == "mail.example.com:2525"
    assert EmailChannel.endpoint(config(host="mail.example.com", port=None, tls="implicit")) == "mail.example.com:465"
