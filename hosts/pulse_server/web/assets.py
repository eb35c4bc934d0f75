"""Style sheets, scripts and images of the pages: our own, and those of :mod:`~pulse_server.web.third_party`.

They are read once, at the start, and served under the hash of them all: an address never changes what it means, so
browsers keep it for ever; a new release has new addresses. Inside a style sheet, relative addresses stay right.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response, current_app, request
from werkzeug.exceptions import NotFound

from pulse_server.web import third_party
from pulse_server.web.described import page

if TYPE_CHECKING:
    from quart import Quart

blueprint = Blueprint("assets", __name__, url_prefix="/assets")

HTMX: Final = (
    '{"allowEval": false, "includeIndicatorStyles": false, "allowScriptTags": false, "selfRequestsOnly": true, '
    '"historyCacheSize": 0}'
)
"""How htmx is configured: nothing that our Content-Security-Policy refuses, no pages kept in the browser."""

REMEDY: Final = "install npm, run `make` once more where the source is, and start again"
_OURS = Path(__file__).parent / "static"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """One file, as it is sent."""

    body: bytes
    zipped: bytes
    kind: str

    @classmethod
    def of(cls, path: Path) -> Asset:
        """Read a file."""
        body = path.read_bytes()
        return cls(body, gzip.compress(body, mtime=0), _KINDS[path.suffix])


class Assets:
    """What is in some folders. A file is known by its name alone: no two folders hold the same one."""

    def __init__(self, *folders: Path) -> None:
        paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]
        found = [path for path in paths if path.is_file() and path.suffix in _KINDS]
        self._assets = {path.name: Asset.of(path) for path in found}
        if len(self._assets) < len(found):
            raise ValueError(f"two assets have the same name, of {sorted(path.name for path in found)}")
        self.version = _hash(self._assets)
        self.missing = sorted(third_party.FILES.keys() - self._assets.keys())
        """What pages should load, and npm has not brought."""

    def get(self, name: str) -> Asset | None:
        """One of them."""
        return self._assets.get(name)

    def url(self, name: str) -> str:
        """Where a page finds an asset; None of ours and nobody else's: KeyError."""
        if name not in self._assets and name not in third_party.FILES:
            raise KeyError(f"there is no asset {name!r}")
        return f"/assets/{self.version}/{name}"


def install(app: Quart) -> None:
    """Serve the assets, and let templates say ``asset('htmx.js')``, ``missing_assets`` and ``htmx_config``."""
    assets = Assets(_OURS, third_party.FOLDER)
    app.extensions["assets"] = assets
    app.jinja_env.globals.update(
        asset=assets.url,
        missing_assets=assets.missing,
        missing_assets_remedy=REMEDY,
        htmx_config=HTMX,
    )
    app.register_blueprint(blueprint)


@blueprint.get("/<version>/<name>")
@page
async def show(version: str, name: str) -> Response:
    """One asset. Under another version than ours it is what it is now, and not kept: another release's page."""
    assets: Assets = current_app.extensions["assets"]
    asset = assets.get(name)
    if asset is None:
        raise NotFound
    zipped = request.accept_encodings["gzip"] > 0
    headers: dict[str, Any] = {
        "Cache-Control": _FOR_EVER if version == assets.version else "no-cache",
        "Vary": "Accept-Encoding",
        **({"Content-Encoding": "gzip"} if zipped else {}),
    }
    return Response(asset.zipped if zipped else asset.body, content_type=asset.kind, headers=headers)


def _hash(assets: dict[str, Asset]) -> str:
    digest = hashlib.sha256()
    for name in sorted(assets):
        for part in (name.encode(), assets[name].body):
            digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]
