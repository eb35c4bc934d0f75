"""Everything in the database as one file, and back: ``pulse backup`` and ``pulse restore``.

``archive`` is the file, ``manifest`` what it says of itself, ``programs`` run pg_dump and pg_restore.
Start with :func:`save` and :func:`restore`.
"""

from pulse_server.backup.restoring import Restored, restore
from pulse_server.backup.saving import save

__all__ = ["Restored", "restore", "save"]
