"""Commands that work on the database: a pool, who acts, and input checked as the admin API checks it."""

from __future__ import annotations

import asyncio
import getpass
from typing import TYPE_CHECKING, Any, TypeVar

import click
from pydantic import BaseModel, ValidationError

from pulse_postgres.accounts import role_dsn
from pulse_postgres.pool import open_pool
from pulse_server.database import database
from pulse_server.problems import field_errors
from pulse_server.secret_key import secret_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    import asyncpg

    from pulse_core.config import Config
    from pulse_postgres.paging import Page

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

_PAGE = 200


def actor() -> str:
    """How the audit log names who works at this terminal."""
    return f"cli:{getpass.getuser()}"


def on_database(
    config: Config,
    work: Callable[[asyncpg.Pool[Any]], Awaitable[T]],
    login: str = "pulse_admin",
    *,
    current_key_only: bool = False,
) -> T:
    """Run ``work`` with a pool that logs in as ``login``; the embedded database is started for it if need be.

    :param current_key_only: demand that the database knows the current secret key; otherwise a previous one will do.
    """
    keys = secret_keys(config)[: 1 if current_key_only else None]
    with database(config) as url:
        return asyncio.run(_with_pool(role_dsn(url, login, *keys), work))


async def _with_pool(dsn: str, work: Callable[[asyncpg.Pool[Any]], Awaitable[T]]) -> T:
    pool = await open_pool(dsn, name="command line", max_size=2)
    try:
        return await work(pool)
    finally:
        await pool.close()


async def everything(page: Callable[..., Awaitable[Page]], **asked: Any) -> list[dict[str, Any]]:
    """Every item of a list, page by page."""
    items: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        found = await page(**asked, limit=_PAGE, cursor=cursor)
        items += found.items
        cursor = found.next
        if cursor is None:
            return items


def checked(model: type[ModelT], **fields: Any) -> ModelT:
    """Arguments as ``model``, by the very rules of the admin API; None means not given.

    :raises click.UsageError: naming what is wrong.
    """
    try:
        return model.model_validate({name: value for name, value in fields.items() if value is not None}, strict=False)
    except ValidationError as error:
        raise click.UsageError(complaints(field_errors(error))) from error


def complaints(errors: Iterable[dict[str, str]]) -> str:
    """Wrong fields, one a line."""
    return "\n".join(f"{each['field']}: {each['message']}" for each in errors)
