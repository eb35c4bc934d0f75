"""Where a browser goes after it has logged in: to a page of ours, whatever a link says."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

HOME: Final = "/"
_LONGEST = 2000
_NOT_BACK_TO = ("/login", "/logout", "/callback")


def local_path(wanted: str | None) -> str:
    r"""``wanted``, if it is a path on this host, else :data:`HOME`.

    Browsers take ``\`` for ``/``, drop tabs and line ends, and take ``//name`` for another host: none of these may be
    in it, encoded or not.
    """
    if not wanted or len(wanted) > _LONGEST:
        return HOME
    if not all(map(_is_harmless, (wanted, unquote(wanted), unquote(unquote(wanted))))):
        return HOME
    path = wanted.partition("?")[0]
    return HOME if any(path == each or path.startswith(f"{each}/") for each in _NOT_BACK_TO) else wanted


def _is_harmless(text: str) -> bool:
    if not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc
