"""What operations are called, and under which heading they stand: made of their paths, which clients rely on."""

from __future__ import annotations

import re


def operation_id(method: str, path: str) -> str:
    """A name for a method of a client: ``get_customer_device`` for ``GET /customer/devices/{device_id}``.

    A noun before an id is one of many; another parameter says of what kind they are.
    """
    words, kinds = [method.lower()], [""]
    for part in path.removeprefix("/api").strip("/").split("/"):
        if not part.startswith("{"):
            words.append(re.sub(r"\W+", "_", part.strip(".")))
            kinds.append("")
        elif part.endswith("_id}"):
            words[-1] = _singular(words[-1])
        else:
            kinds[-1] = f"_of_{part.strip('{}')}"
    return "_".join(word + kind for word, kind in zip(words, kinds, strict=True))


def _singular(noun: str) -> str:
    return f"{noun[:-3]}y" if noun.endswith("ies") else noun.removesuffix("s")


def tag_of(path: str) -> str:
    """The heading: whose API, and which subject of it."""
    parts = path.removeprefix("/api").strip("/").split("/")
    subject = next((part for part in parts[1:] if not part.startswith("{")), "")
    if parts[0] in {".well-known", "auth"}:
        return "auth"
    if len(parts) == 1:
        return "about"
    return f"{parts[0]} {subject}".strip().replace("-", " ")
