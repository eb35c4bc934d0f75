"""pg_dump and pg_restore: the wheel's, which fit the embedded server, or those on this machine.

Passwords go by the environment: a command line can be read by everybody on the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from pulse_core.errors import ConfigError, PermanentFailure
from pulse_server.backup.archive import CHUNK
from pulse_server.embedded import binaries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import psycopg

_TABLE = re.compile(r'(?:dumping contents of|processing data for) table "(.+)"')
_KEPT_LINES = 8


def dumped(url: str, snapshot: str, told: Callable[[str], None]) -> Iterator[bytes]:
    """What pg_dump writes of a database, as it was at an exported snapshot.

    :param told: hears the name of each table (``public.telemetry``) when its rows begin.
    :raises PermanentFailure: it failed; the text ends with what it said.
    """
    options = ["--format=custom", "--compress=gzip:3", f"--snapshot={snapshot}", "--lock-wait-timeout=60000"]
    with _running("pg_dump", options, url, told, stdout=subprocess.PIPE) as process:
        while chunk := _of(process.stdout).read(CHUNK):
            yield chunk


def load(url: str, chunks: Iterable[bytes]) -> None:
    """Have pg_restore put a dump into an empty database: all of it, or nothing.

    :raises PermanentFailure: it failed; the text ends with what it said.
    """
    options = ["--exit-on-error", "--single-transaction", f"--dbname={conninfo_to_dict(url)['dbname']}"]
    with _running("pg_restore", options, url, lambda _: None, stdin=subprocess.PIPE) as process:
        into = _of(process.stdin)
        with suppress(BrokenPipeError):  # it ended: what it said tells why
            for chunk in chunks:
                into.write(chunk)
        with suppress(BrokenPipeError):
            into.close()


@contextmanager
def _running(
    name: str, options: list[str], url: str, told: Callable[[str], None], **pipes: int
) -> Iterator[subprocess.Popen[bytes]]:
    command = [_found(name), "--verbose", "--no-password", *options]
    process = subprocess.Popen(command, env=_environment(url), stderr=subprocess.PIPE, **pipes)  # type: ignore[call-overload] # noqa: S603 - PostgreSQL's own programs
    said: list[str] = []
    listening = threading.Thread(target=_listen, args=(process.stderr, said, told), name=f"{name} says")
    listening.start()
    try:
        yield process
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        listening.join()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
    if code != 0:
        raise PermanentFailure(f"{name} failed ({code}):\n" + "\n".join(said))


def _listen(errors: IO[bytes], said: list[str], told: Callable[[str], None]) -> None:
    """Keep the last lines, and tell of tables."""
    for raw in errors:
        line = raw.decode(errors="replace").rstrip()
        if table := _TABLE.search(line):
            told(table[1])
        else:
            said[:] = [*said, line][-_KEPT_LINES:]


def _found(name: str) -> str:
    with suppress(ConfigError):
        carried = binaries.carried() / "bin" / name
        if carried.is_file():
            return str(carried)
    if found := shutil.which(name):
        return found
    raise ConfigError(
        f"there is no {name} here: install PostgreSQL's client programs, or opsconductor-pulse[embedded], "
        "or copy the files while nothing runs (docs/how-to/backup.md)"
    )


def _environment(url: str) -> dict[str, str]:
    """Ours without what would lead elsewhere, and the address, as libpq reads it."""
    names = {each.keyword.decode(): each.envvar.decode() for each in Conninfo.get_defaults() if each.envvar is not None}
    told = {names[key]: str(value) for key, value in conninfo_to_dict(url).items() if key in names}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PULSE_"))}
    return {**inherited, **told, "LC_ALL": "C"}


def _of(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None  # noqa: S101 - it was asked for
    return pipe


def server_version(connection: psycopg.Connection[tuple[object, ...]]) -> str:
    """``18.4``, say."""
    number = connection.info.server_version
    return f"{number // 10000}.{number % 10000}"
