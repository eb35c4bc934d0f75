"""What the documentation says is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from typing import TYPE_CHECKING

import click
import pytest

from support.tree import ROOT, named, project_files

if TYPE_CHECKING:
    from pathlib import Path

PAGES = [path for path in project_files() if path.suffix == ".md"]
HOW_TO = ROOT / "docs/how-to/write-a-channel.md"


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def block_named(page: Path, language: str, name: str) -> str:
    """The code block whose first line is the comment ``# name``."""
    return next(block for block in blocks(page, language) if block.startswith(f"# {name}\n"))


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def test_every_picture_is_there_small_and_told_in_words() -> None:
    from support.screenshots import FOLDER, MOST_BYTES, PICTURES

    shown = set()
    for page in PAGES:
        for words, place in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text()):
            file = (page.parent / place).resolve()
            assert len(words) > 40, f"{named(page)} says too little of {place} to whoever does not see it"
            assert file.stat().st_size <= MOST_BYTES
            shown.add(file)
    assert shown == {FOLDER / f"{name}.png" for name in PICTURES} == set(FOLDER.iterdir())


def test_the_commands_of_the_readme_are_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z]+):", ROOT.joinpath("Makefile").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"(?:`|\$ )make ([a-z]+)\b", ROOT.joinpath("README.md").read_text()))
    assert {"up", "test"} <= wanted <= targets
    contributor = set(re.findall(r"make ([a-z]+)\*?\*?`", ROOT.joinpath("CONTRIBUTING.md").read_text()))
    assert contributor <= targets


def test_the_readme_names_the_commands_of_pulse() -> None:
    from pulse_server.cli import main

    sentence = re.search(r"`pulse --help` lists the commands: ([^.]*)\.", ROOT.joinpath("README.md").read_text())
    assert sentence
    assert set(re.findall(r"`(\w+)`", sentence[1])) == set(main.list_commands(click.Context(main)))


def test_the_configuration_on_the_page_is_valid(tmp_path: Path) -> None:
    from pulse_core.config import load_config
    from pulse_core.plugins import load_plugins

    (sample,) = blocks(ROOT / "docs/how-to/configure.md", "toml")
    file = tmp_path / "pulse.toml"
    file.write_text(sample)
    config = load_config(file)
    assert config.device_http.host == "0.0.0.0"
    assert load_plugins(config).telemetry_store.name == "postgres"


@pytest.mark.parametrize("who", ["operator", "customer"])
def test_the_page_of_an_api_names_each_of_its_paths(who: str) -> None:
    from support.rights import RIGHTS

    page = ROOT.joinpath(f"docs/how-to/{who}-api.md").read_text()
    named = {re.sub(r"{\w+}", "{}", path) for path in re.findall(r"`(/[^`?]*)", page)}
    rules = [route.split(f"/{who}")[1] for route in RIGHTS if f" /{who}/" in route]
    assert [rule for rule in rules if re.sub(r"<[^>]+>", "{}", rule) not in named] == []


def test_the_settings_on_the_page_are_those_there_are() -> None:
    from pulse_core.settings import Settings

    page = ROOT.joinpath("docs/how-to/operator-api.md").read_text()
    assert dict(re.findall(r"^\| ([A-Z_]+) \| (\w+) \|", page, re.MULTILINE)) == {
        name: f"{value:g}"
        if isinstance(value, float)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
        for name, value in Settings().model_dump().items()
    }


def test_the_channel_on_the_page_keeps_the_contract(tmp_path: Path) -> None:
    """The tutorial's channel, run through the tutorial's own test."""
    for name in ("pulse_ntfy.py", "test_ntfy.py"):
        tmp_path.joinpath(name).write_text(block_named(HOW_TO, "python", name))
    tmp_path.joinpath("pytest.ini").write_text("[pytest]\n")
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_ntfy.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout
    assert re.search(r"\b[2-9]\d passed", tested.stdout), tested.stdout


def test_the_channel_on_the_page_is_short_and_imports_the_api_alone() -> None:
    source = block_named(HOW_TO, "python", "pulse_ntfy.py")
    assert set(re.findall(r"^(?:from|import) (\S+)", source, re.MULTILINE)) == {"pulse_core.api"}


def test_the_distribution_on_the_page_is_complete() -> None:
    project = tomllib.loads(block_named(HOW_TO, "toml", "pyproject.toml"))
    assert project["project"]["entry-points"]["pulse.plugins"] == {"ntfy": "pulse_ntfy"}
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"] == ["pulse_ntfy.py"]
