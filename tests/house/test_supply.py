"""What we depend on is pinned, and nothing in the tree says where packages come from."""

from __future__ import annotations

import importlib.metadata
import re

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from support.tree import ROOT, named, project_files

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
