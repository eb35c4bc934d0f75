"""An integration on its way into the store: production does not take what it would never call."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from pulse_core.api import Channel, Field, IntegrationConfig, Notification, SecretUrl, WebUrl
from pulse_core.outbox import StoredIntegration
from pulse_core.secrets import SecretBox
from pulse_server.cli import main
from pulse_server.configured import resealed, sealed
from support.admin import admin_api

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BOX = SecretBox("k" * 32)
HTTP = {"type": "webhook", "name": "hook", "config": {"url": "http://example.com/hook", "secret": SECRET}}


class _Mirror(IntegrationConfig):
    url: SecretUrl


class _Strange(IntegrationConfig):
    """A third party's, with URLs at every depth."""

    first: WebUrl
    others: tuple[WebUrl, ...] = ()
    mirrors: dict[str, _Mirror] = Field({})


class _StrangeChannel(Channel[_Strange]):
    name = "strange"
    summary = "of a third party"
    integration_type = _Strange

    async def send(self, notification: Notification) -> str | None: ...


@pytest.mark.parametrize(
    ("config", "where"),
    [
        ({"first": "http://a.example"}, ("first",)),
        ({"first": "https://a.example", "others": ["https://b.example", "http://c.example"]}, ("others", 1)),
        ({"first": "https://a.example", "mirrors": {"m": {"url": "http://c.example"}}}, ("mirrors", "m", "url")),
    ],
)
def test_plain_http_is_a_wrong_field_of_any_channel(config: dict[str, Any], where: tuple[Any, ...]) -> None:
    sealed(_StrangeChannel, BOX, config, allow_plain_http=True)
    with pytest.raises(ValidationError, match="https: URL is needed") as caught:
        sealed(_StrangeChannel, BOX, config, allow_plain_http=False)
    assert [fault["loc"] for fault in caught.value.errors()] == [where]


def test_so_it_is_when_a_stored_one_is_edited() -> None:
    """One that was saved in development mode keeps its URL until somebody edits it in production."""
    public, secrets = sealed(_StrangeChannel, BOX, {"first": "http://a.example"}, allow_plain_http=True)
    stored = StoredIntegration("tenant-a", uuid.uuid4(), "strange", public, secrets, True, None, 0)
    changes = {"others": ["https://b.example"]}
    resealed(_StrangeChannel, BOX, stored, changes, allow_plain_http=True)
    with pytest.raises(ValidationError, match="https: URL is needed") as caught:
        resealed(_StrangeChannel, BOX, stored, changes, allow_plain_http=False)
    assert [fault["loc"] for fault in caught.value.errors()] == [("first",)]


async def test_the_admin_api_refuses_plain_http_in_production(database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path, mode="prod") as admin:
        await admin.tenant()
        status, body, _ = await admin.post("/integrations", {"tenant_id": "tenant-a", **HTTP})
        assert (status, [each["field"] for each in body["errors"]]) == (422, ["config.url"])
        assert "https" in body["errors"][0]["message"]
    async with admin_api(database, tmp_path, mode="dev") as admin:
        assert (await admin.post("/integrations", {"tenant_id": "tenant-a", **HTTP}))[0] == 201


@pytest.mark.parametrize(("mode", "code"), [("prod", 2), ("dev", 0)])
def test_so_does_the_command_line(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULSE_DATABASE_URL", database.url)
    monkeypatch.setenv("PULSE_SECRET_KEY", database.secret_key)
    monkeypatch.setenv("PULSE_MODE", mode)
    with database.superuser() as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a')")
    given = [f"{name}={value}" for name, value in {"url": "http://example.com/", "secret": SECRET}.items()]
    settings = [word for each in given for word in ("--set", each)]
    done = CliRunner().invoke(main, ["integrations", "add", "webhook", "--tenant", "tenant-a", *settings])
    assert done.exit_code == code, done.output
    assert ("url: " in done.output) is (mode == "prod")
    listed = json.loads(CliRunner().invoke(main, ["integrations", "list", "--json"]).stdout)
    assert len(listed) == (mode == "dev")
