"""What a browser would send of a form that nobody touched, or that somebody filled in (HTML, section 4.10)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from werkzeug.datastructures import MultiDict

EVIL = "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"
"""A text that must stay a text."""
_BREAKS = re.compile(r"\r\n|\r|\n")
_NUMBER = re.compile(r"-?([0-9]+(\.[0-9]+)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass
class Box:
    """One control of a form."""

    name: str
    kind: str
    value: str
    on: bool = True
    attrs: dict[str, str | None] = field(default_factory=dict)


class Page(HTMLParser):
    """Reads a page: its controls, all other elements, and every text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.boxes: list[Box] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._within: str | None = None
        self._options: list[Box] = []
        self.feed(_BREAKS.sub("\n", html))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        name, kind = found.get("name") or "", (found.get("type") or "text").lower()
        if tag == "input" and kind != "submit":
            on = kind not in {"checkbox", "radio"} or "checked" in found
            self.boxes.append(Box(name, kind, _clean(kind, found.get("value")), on, found))
        elif tag == "textarea":
            self._within = ""
            self.boxes.append(Box(name, "textarea", "", attrs=found))
        elif tag == "select":
            self._options = []
            self.boxes.append(Box(name, "select", "", on=False, attrs=found))
        elif tag == "option":
            self._options.append(Box("", "option", found.get("value") or "", "selected" in found))

    def handle_data(self, data: str) -> None:
        if self._within is None:
            self.texts.append(data)
        else:
            self._within += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self.boxes[-1].value = (self._within or "").removeprefix("\n")
            self._within = None
        elif tag == "select" and self._options:
            chosen = [each for each in self._options if each.on] or self._options[:1]
            self.boxes[-1].value, self.boxes[-1].on = chosen[-1].value, True

    def sent(self, filled: dict[str, str | None] | None = None) -> MultiDict[str, str]:
        """What is sent; ``filled``: typed, ticked or chosen (None: unticked) before."""
        changed = dict(filled or {})
        found: MultiDict[str, str] = MultiDict()
        for box in self.boxes:
            value, on = box.value, box.on
            if box.name in changed:
                wanted = changed[box.name]
                on = wanted is not None and (box.kind not in {"radio", "checkbox"} or wanted == box.value)
                value = value if wanted is None else wanted
            if on and box.name:
                found.add(box.name, _BREAKS.sub("\r\n", value))
        missing = set(changed) - {box.name for box in self.boxes}
        assert not missing, f"the form has no {missing}"
        return found


def filled(page: str, **more: str | None) -> list[tuple[str, str]]:
    """What the form in the middle of a page sends, without that of the frame; ``more``: see :meth:`Page.sent`."""
    found = Page(page[page.index('<form class="card made"') :]).sent(more)
    return [*found.items(multi=True)]


def secret_of(page: str) -> str | None:
    """What a page shows this once, if it does (templates/once.html)."""
    found = re.search(r'<pre class="copyable"><code>([^<]+)</code>', page)
    return found[1] if found else None


def _clean(kind: str, value: str | None) -> str:
    """Sanitise as an input of that type does."""
    if value is None:
        return "on" if kind in {"checkbox", "radio"} else ""
    if kind == "number":
        return value if _NUMBER.fullmatch(value) else ""
    if kind in {"text", "password", "email", "url"}:
        value = value.replace("\n", "")
    return value.strip(" \t\n\f\r") if kind in {"email", "url"} else value
