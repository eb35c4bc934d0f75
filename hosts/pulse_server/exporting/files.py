"""The pieces that an export's file is kept in: each deflated by itself, no longer than a row of the database may be.

They are in the database, not on a disk: whichever host has the next turn goes on, whichever is asked gives the file,
it is committed with how far it is, and row-level security, removal of a tenant and backups know of it as of all else.
"""

from __future__ import annotations

import zlib
from typing import Final

PIECE_BYTES: Final = 1_000_000
"""So long is a piece at most, unpacked; packed, a little longer in the worst case."""
_FAST = 1


def packed(text: bytes) -> list[bytes]:
    """Text as pieces."""
    return [zlib.compress(text[at : at + PIECE_BYTES], _FAST) for at in range(0, len(text), PIECE_BYTES)]


def unpacked(piece: bytes) -> bytes:
    """A piece as text."""
    return zlib.decompress(piece) if piece else b""
