"""``pulse keys``: replaces the key that signs tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pulse_accounts.keys import SIGNS_AFTER_S, rotate
from pulse_core.secrets import SecretBox
from pulse_postgres.identity.signing_keys import PostgresSigningKeys
from pulse_server.cli.base import Session, out, pass_session
from pulse_server.cli.work import actor, on_database
from pulse_server.secret_key import demand_in_use, secret_keys

if TYPE_CHECKING:
    import asyncpg


@click.group()
def keys() -> None:
    """Keys: replace the one that signs tokens."""


@keys.command("rotate")
@pass_session
def rotate_keys(session: Session) -> None:
    """Make a new key. It signs once every process knows it; the ones before verify until their last token is over."""
    config = session.config()
    current, *previous = secret_keys(config)
    demand_in_use(config, current)
    kid, forgotten = on_database(config, lambda pool: _rotate(pool, SecretBox(current, *previous)))
    out.print(f"key {kid} signs in {SIGNS_AFTER_S:g} s; {forgotten} old ones are forgotten", highlight=False)


async def _rotate(pool: asyncpg.Pool[Any], box: SecretBox) -> tuple[str, int]:
    store = PostgresSigningKeys(pool, actor())
    return await rotate(store, box), await store.forget()
