"""PostgreSQL inside the product: our own launcher for the binaries that a wheel carries.

Start with :class:`pulse_server.embedded.launcher.EmbeddedPostgres`.
"""

from pulse_server.embedded.launcher import EmbeddedPostgres, running_url

__all__ = ["EmbeddedPostgres", "running_url"]
