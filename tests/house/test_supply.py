"""What we depend on is pinned, and nothing in the tree says where packages come from."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from pulse_server.web import third_party
from support.pages import FETCHED
from support.tree import ROOT, named, project_files

if TYPE_CHECKING:
    from pathlib import Path

OURS = {"opsconductor-pulse", "pulse-simulator", "pulse-slack"}
REGISTRIES = [
    ".".join(words)
    for words in (
        ("pypi", "org"),
        ("python" + "hosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("repo", "maven", "apache", "org"),
    )
]


def required(distribution: str, extras: frozenset[str], seen: dict[NormalizedName, set[str]]) -> None:
    """Collect what a distribution needs on this machine, and what that needs, and so on."""
    name = canonicalize_name(distribution)
    if name in seen and extras <= seen[name]:
        return
    seen.setdefault(name, set()).update(extras)
    for text in importlib.metadata.requires(distribution) or ():
        requirement = Requirement(text)
        environments: list[dict[str, str]] = [{"extra": extra} for extra in (*extras, "")]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in environments):
            required(requirement.name, frozenset(requirement.extras), seen)


def test_every_dependency_is_pinned_to_what_is_installed() -> None:
    needed: dict[NormalizedName, set[str]] = {}
    required("opsconductor-pulse", frozenset({"all", "dev"}), needed)
    required("pulse-simulator", frozenset(), needed)
    lines = ROOT.joinpath("constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if "==" in line)
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    installed = {name: importlib.metadata.version(name) for name in needed if name not in OURS}
    assert {name: version for name, version in installed.items() if pinned.get(name) != version} == {}


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the business of whoever installs: their configuration, not our files."""
    pattern = re.compile("|".join(re.escape(host) for host in REGISTRIES).encode(), re.IGNORECASE)
    naming = [named(path) for path in project_files() if pattern.search(path.read_bytes())]
    assert naming == []


def test_what_pages_load_is_pinned_by_its_content() -> None:
    package = json.loads(ROOT.joinpath("frontend/package.json").read_text())
    wanted, of_tests = package["dependencies"], package["devDependencies"]
    packages = json.loads(ROOT.joinpath("frontend/package-lock.json").read_text())["packages"]
    ours = packages.pop("")
    assert (ours["dependencies"], ours["devDependencies"]) == (wanted, of_tests)
    locked = {name.removeprefix("node_modules/"): each for name, each in packages.items()}
    assert {name: each["version"] for name, each in locked.items()} == wanted | of_tests
    assert {name for name, each in locked.items() if each.get("dev")} == set(of_tests)
    served = {source.partition("/dist/")[0].partition("/css/")[0] for source in third_party.FILES.values()}
    assert served == set(wanted), "what the tests alone need is not served"
    for each in locked.values():
        assert each["integrity"].startswith("sha512-")
        assert "resolved" not in each
        assert not each.get("hasInstallScript")


def test_nothing_of_other_people_is_committed() -> None:
    ours = {named(path) for path in project_files()}
    assert {name for name in ours if "/vendor/" in name or "node_modules" in name} == set()


@pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm")
def test_the_wheel_holds_what_pages_load(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    fetched = {f"pulse_server/web/static/vendor/{path.name}" for path in third_party.FOLDER.iterdir()}
    assert len(fetched) > len(third_party.FILES)
    assert fetched <= held
    assert {"pulse_server/web/static/pulse.svg", "pulse_server/web/templates/assets.html"} <= held
    assert [name for name in held if name.startswith(("frontend", "tests"))] == []
