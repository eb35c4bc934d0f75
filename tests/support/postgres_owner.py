"""A process that owns an embedded PostgreSQL until it is killed. A script: ``python postgres_owner.py DATA_DIR``.

It prints one line of JSON when the server is up: ``{"url": …, "pid": …}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from pulse_server.embedded.launcher import EmbeddedPostgres


async def own(server: EmbeddedPostgres) -> None:
    """Start, say so, and supervise for ever."""
    url = server.start()
    sys.stdout.write(json.dumps({"url": url, "pid": server.pid}) + "\n")
    sys.stdout.flush()
    await server.supervise()


if __name__ == "__main__":
    asyncio.run(own(EmbeddedPostgres(Path(sys.argv[1]))))
