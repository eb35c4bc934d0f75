"""``pulse secrets``: replaces the key that everything is encrypted with that is stored encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.progress import Progress

from pulse_core.errors import ConfigError
from pulse_core.secrets import SecretBox
from pulse_postgres.resealing import ANSWERS, REQUESTS, SESSIONS, SIGNING_KEYS, Resealing, Sealed
from pulse_server import key_file
from pulse_server.cli.base import Session, err, out, pass_session
from pulse_server.cli.work import actor, on_database
from pulse_server.exits import FAILED
from pulse_server.resealing import Resealed, reseal
from pulse_server.secret_key import demand_in_use, path_of, secret_keys

if TYPE_CHECKING:
    from pathlib import Path

    import asyncpg

    from pulse_core.config import Config

_MANY = 500


@click.group()
def secrets() -> None:
    """Secrets: replace the key that the stored ones are encrypted with.

    In this order: new-key (or a new secret_key in the configuration, the old one in previous_secret_keys), restart the
    platform, pulse migrate (with a database of your own), rotate, and, when that has said that nothing needs the old
    key, rotate --forget (or take it out of the configuration).
    """


@secrets.command("new-key")
@pass_session
def new_key(session: Session) -> None:
    """Make a new secret key, and keep the old one until nothing needs it. For the generated key file only."""
    config = session.config()
    path = _generated(config)
    if not path.exists():
        raise ConfigError(f"there is no {path} yet: it is made at the first start")
    kept = key_file.add(path)
    out.print(f"{path} has a new key, before {kept} previous; back it up", soft_wrap=True)
    migrate = "" if config.database_url is None else "`pulse migrate` and "
    out.print(f"next: restart the platform, then run {migrate}`pulse secrets rotate`", soft_wrap=True)


@secrets.command("rotate")
@click.option("--forget", is_flag=True, help="Afterwards, drop the previous keys from the generated key file.")
@pass_session
def rotate(session: Session, *, forget: bool) -> None:
    """Encrypt integrations' secrets, signing keys and browsers' sessions anew with the current key. Safe to run again.

    The platform runs on meanwhile. Exits with 1 when some can be read with none of the keys.
    """
    config = session.config()
    if forget:
        _generated(config)
    keys = secret_keys(config)
    demand_in_use(config, keys[0])
    done = on_database(config, lambda pool: _reseal(pool, SecretBox(*keys)), current_key_only=True)
    out.print(f"{done.resealed} encrypted anew, {done.current} were already", soft_wrap=True)
    if done.unreadable:
        _tell_unreadable(done)
        click.get_current_context().exit(FAILED)
    if forget:
        dropped = key_file.forget(path_of(config), keys[0])
        out.print(f"{dropped} previous keys dropped; back {path_of(config)} up", soft_wrap=True)
    elif len(keys) > 1:
        out.print("nothing needs the previous keys any more", soft_wrap=True)


def _generated(config: Config) -> Path:
    if config.secret_key is not None:
        raise ConfigError(
            "secret_key is configured: put a new one there and the old one into previous_secret_keys, restart the "
            "platform, run `pulse migrate` and `pulse secrets rotate`, and take the old one out again"
        )
    return path_of(config)


async def _reseal(pool: asyncpg.Pool[Any], box: SecretBox) -> Resealed[Sealed]:
    store = Resealing(pool)
    total = await store.count()
    with Progress(console=err, transient=True, disable=total < _MANY) as progress:
        task = progress.add_task("encrypting", total=total)
        done = await reseal(store, box, lambda more: progress.advance(task, more))
    parts = [done, *[await reseal(Resealing(pool, place), box) for place in (SIGNING_KEYS, SESSIONS)]]
    for place in (REQUESTS, ANSWERS):  # one that cannot be read is forgotten within a day: nobody need do more
        await reseal(Resealing(pool, place), box)
    everything = Resealed[Sealed](
        sum(part.resealed for part in parts),
        sum(part.current for part in parts),
        0,
        tuple(each for part in parts for each in part.unreadable),
    )
    if everything.resealed:
        await store.note(actor(), everything.resealed)
    return everything


def _tell_unreadable(done: Resealed[Sealed]) -> None:
    err.print(f"{len(done.unreadable)} can be read with none of the keys:", soft_wrap=True)
    for each in done.unreadable:
        err.print(f"  {each}", soft_wrap=True, markup=False)
    err.print("name the key that they need in previous_secret_keys, or fill in their secrets again", soft_wrap=True)
