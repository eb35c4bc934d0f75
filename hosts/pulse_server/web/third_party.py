"""What pages load from other people's packages: fetched by npm (``make`` does that), never committed.

``python third_party.py frontend/node_modules`` puts the few files that we use where the application
serves them from and where the wheel takes them from. Their licences come along.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote

FOLDER: Final = Path(__file__).parent / "static" / "vendor"

FILES: Final = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "pico.css": "@picocss/pico/css/pico.min.css",
    "uplot.css": "uplot/dist/uPlot.min.css",
    "uplot.js": "uplot/dist/uPlot.iife.min.js",
}
"""What a file is called here, and where npm leaves it."""

LICENSES: Final = "LICENSES.txt"
"""Written last: when it is there, everything is."""

_DATA_IMAGE = re.compile(r"""url\("data:image/svg\+xml,([^"]*)"\)""")


def collect(node_modules: Path, folder: Path = FOLDER) -> None:
    """Replace what is in ``folder`` by what npm fetched. Raises OSError: something is not there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, source in FILES.items():
        text = (node_modules / source).read_text()
        folder.joinpath(name).write_text(_with_images_apart(text, folder) if name.endswith(".css") else text)
    folder.joinpath(LICENSES).write_text(_licenses(node_modules))


def _with_images_apart(css: str, folder: Path) -> str:
    """Make files of the images inside a style sheet: our Content-Security-Policy knows images of ours, no ``data:``."""

    def apart(found: re.Match[str]) -> str:
        image = unquote(found[1])
        name = f"{hashlib.sha256(image.encode()).hexdigest()[:12]}.svg"
        folder.joinpath(name).write_text(image)
        return f'url("{name}")'

    return _DATA_IMAGE.sub(apart, css)


def _licenses(node_modules: Path) -> str:
    packages = sorted({source.partition("/dist/")[0].partition("/css/")[0] for source in FILES.values()})
    texts = [next((node_modules / package).glob("LICENSE*")).read_text().strip() for package in packages]
    return "\n\n\n".join(f"{package}\n\n{text}" for package, text in zip(packages, texts, strict=True)) + "\n"


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
