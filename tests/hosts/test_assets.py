"""What pages load: under addresses that never change what they mean, ours and other people's."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from quart import render_template_string

from pulse_server.web import third_party
from pulse_server.web.assets import HTMX, Assets
from support.pages import closed_app

if TYPE_CHECKING:
    from pathlib import Path

PAGE = "{% import 'assets.html' as assets with context %}{{ assets.head() }}{{ assets.charts() }}{{ assets.notice() }}"


def node_modules(folder: Path) -> Path:
    """What npm leaves, made up."""
    for source in third_party.FILES.values():
        file = folder / source
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"/* {source} */")
        package = folder / source.partition("/dist/")[0].partition("/css/")[0]
        package.joinpath("LICENSE.md").write_text(f"Do with {package.name} what you like\n")
    return folder


def test_of_the_packages_only_what_we_use_is_taken_and_their_licences(tmp_path: Path) -> None:
    folder = tmp_path / "vendor"
    folder.mkdir()
    folder.joinpath("left-behind.js").write_text("old")
    third_party.collect(node_modules(tmp_path / "node_modules"), folder)
    assert {path.name for path in folder.iterdir()} == {*third_party.FILES, third_party.LICENSES}
    assert folder.joinpath("htmx.js").read_text() == "/* htmx.org/dist/htmx.min.js */"
    licences = folder.joinpath(third_party.LICENSES).read_text()
    assert [name for name in ("pico", "htmx.org", "uplot") if f"Do with {name} what" not in licences] == []


def test_images_inside_a_style_sheet_become_files(tmp_path: Path) -> None:
    source = node_modules(tmp_path / "node_modules")
    images = ["%3Csvg a='1'%3E%3C/svg%3E", "%3Csvg/%3E"]
    style = "".join(f'a{{--i: url("data:image/svg+xml,{image}")}}' for image in images)
    source.joinpath(third_party.FILES["pico.css"]).write_text(style)
    folder = tmp_path / "vendor"
    third_party.collect(source, folder)
    files = {path.name: path.read_text() for path in folder.glob("*.svg")}
    assert sorted(files.values()) == ["<svg a='1'></svg>", "<svg/>"]
    text = folder.joinpath("pico.css").read_text()
    assert "data:" not in text
    assert [name for name in files if f'url("{name}")' not in text] == []


def test_what_a_package_lacks_is_told_and_the_last_file_is_not_written(tmp_path: Path) -> None:
    source = node_modules(tmp_path / "node_modules")
    source.joinpath(third_party.FILES["uplot.js"]).unlink()
    with pytest.raises(FileNotFoundError):
        third_party.collect(source, tmp_path / "vendor")
    assert not tmp_path.joinpath("vendor", third_party.LICENSES).exists()


def test_every_content_has_addresses_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "one.css"
    file.write_text("a{}")
    first = Assets(tmp_path)
    assert Assets(tmp_path).url("one.css") == first.url("one.css")
    file.write_text("b{}")
    second = Assets(tmp_path)
    assert second.url("one.css") != first.url("one.css")
    file.rename(tmp_path / "two.css")
    assert Assets(tmp_path).version != second.version
    with pytest.raises(KeyError):
        first.url("two.css")


def test_a_name_stands_for_one_file(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        tmp_path.joinpath(folder).mkdir()
        tmp_path.joinpath(folder, "same.js").write_text(folder)
    with pytest.raises(ValueError, match="same name"):
        Assets(tmp_path / "a", tmp_path / "b")


async def test_an_asset_is_kept_for_ever_under_its_own_version_alone(tmp_path: Path) -> None:
    app = closed_app(tmp_path)
    client, assets = app.test_client(), app.extensions["assets"]
    for path, kept in (
        (assets.url("live.js"), "public, max-age=31536000, immutable"),
        ("/assets/0/live.js", "no-cache"),
    ):
        answer = await client.get(path)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, kept)
        assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Encoding" not in answer.headers
        plain = await answer.get_data(as_text=False)
        zipped = await client.get(path, headers={"Accept-Encoding": "br, gzip"})
        assert (zipped.headers["Content-Encoding"], zipped.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(await zipped.get_data(as_text=False)) == plain
        refused = await client.get(path, headers={"Accept-Encoding": "gzip;q=0, identity"})
        assert "Content-Encoding" not in refused.headers


@pytest.mark.parametrize("name", ["none.js", "..%2f..%2f__init__.py", "../assets.py", "%00", ".hidden.js", ""])
async def test_nothing_else_is_served(tmp_path: Path, name: str) -> None:
    client = closed_app(tmp_path).test_client()
    assert (await client.get(f"/assets/0/{name}")).status_code == 404


async def page_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path) -> str:
    monkeypatch.setattr(third_party, "FOLDER", folder)
    app = closed_app(tmp_path / "data")
    async with app.test_request_context("/"):
        return await render_template_string(PAGE)


async def test_a_page_loads_what_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    third_party.collect(node_modules(tmp_path / "node_modules"), tmp_path / "vendor")
    text = await page_with(monkeypatch, tmp_path, tmp_path / "vendor")
    assert [name for name in third_party.FILES if f'/{name}"' not in text] == []
    assert HTMX.replace('"', "&#34;") in text
    assert "goes without" not in text


async def test_a_page_says_what_it_goes_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = await page_with(monkeypatch, tmp_path, tmp_path / "nothing")
    assert "goes without htmx.js, pico.css, uplot.css, uplot.js" in " ".join(text.split())
    assert "npm" in text
    assert "/assets/" not in text
