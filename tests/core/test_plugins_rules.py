"""The plugin door: what hooks and the classes that they give must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import PluginError
from pulse_core.plugins import channel_schema, load_plugins
from support.distributions import STORE, Workshop, channel, config_for, workshop_with_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BELL = channel("bell")


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    yield from workshop_with_store(tmp_path)


def refusal(workshop: Workshop, source: str) -> str:
    workshop.install("stranger", {"bell": source})
    with pytest.raises(PluginError) as caught:
        load_plugins(config_for("bell"))
    assert "'bell' (stranger 1.0)" in str(caught.value)
    return str(caught.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ("async def pulse_register_channels(): return [Bell]", "plain function"),
        ("async def pulse_register_channels(): yield Bell", "plain function"),
        ("def pulse_register_channels(): return _soon()", "plain function"),
        ("def pulse_register_chanels(): return [Bell]", "no hook 'pulse_register_chanels'; did you mean"),
        ("def pulse_register_channels(surprise): return [Bell]", "surprise"),
        ("def pulse_register_channels(): return None", "returned None"),
        ("def pulse_register_channels(): return Bell", "list of classes"),
        ("def pulse_register_channels(): return 'Bell'", "list of classes"),
        ("def pulse_register_channels(): return ['Bell']", "must give classes"),
        ("def pulse_register_channels(): return [Bell(None, None, None)]", "must give classes"),
        ("def pulse_register_channels(): return [dict]", "must extend Channel"),
        ("def pulse_register_ingesters(): return [Bell]", "must extend Ingester"),
        ("def pulse_register_channels(): raise KeyError('x')", "registering: KeyError: 'x'"),
        ("def pulse_register_channels(): yield Bell; raise OSError('disk')", "registering: OSError: disk"),
        ("def pulse_register_channels(): return [Bell, Bell]", "already a channel 'bell'"),
    ],
)
def test_hooks_that_break_a_rule_are_refused(workshop: Workshop, hook: str, told: str) -> None:
    head, _, _ = BELL.partition("@hookimpl")
    soon = "async def _soon(): return [Bell]\n"
    assert told in refusal(workshop, f"{head}\n{soon}\n@hookimpl\n{hook}\n")


def test_a_hook_may_be_a_generator(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": BELL.replace("return [Bell]", "yield Bell")})
    assert list(load_plugins(config_for("bell")).channels) == ["bell"]


def test_a_forgotten_marker_is_told(workshop: Workshop) -> None:
    assert "@hookimpl" in refusal(workshop, BELL.replace("@hookimpl\n", ""))


def test_a_plugin_without_hooks_is_told(workshop: Workshop) -> None:
    assert "implements no hook" in refusal(workshop, "x = 1")


@pytest.mark.parametrize("wrapper", ["wrapper=True", "hookwrapper=True"])
def test_a_plugin_may_not_wrap_the_hooks_of_others(workshop: Workshop, wrapper: str) -> None:
    source = BELL.replace("@hookimpl", f"@hookimpl({wrapper})").replace("return [Bell]", "yield")
    assert "must not be a wrapper" in refusal(workshop, source)


def test_a_hook_of_a_host_that_is_absent_may_be_optional(workshop: Workshop) -> None:
    extra = "@hookimpl(optionalhook=True)\ndef pulse_server_register_blueprints(): return []\n"
    workshop.install("stranger", {"bell": f"{BELL}\n{extra}"})
    assert list(load_plugins(config_for("bell")).channels) == ["bell"]


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("async def send(self, notification)", "async def sned(self, notification)", "does not implement send"),
        ("async def send", "def send", ".send must be async"),
        ('name = "bell"', 'name = "The Bell"', ".name must be a lower-case word"),
        ('name = "bell"', "name = 7", ".name must be a lower-case word"),
        ('name = "bell"', "", ".name must be a lower-case word"),
        ('name = "bell"', 'name = "bell"\n    summary = None', ".summary must be text"),
        ("integration_type = BellIntegration", "", ".integration_type must be a subclass"),
        ("integration_type = BellIntegration", "integration_type = dict", ".integration_type must be a subclass"),
        ('name = "bell"', 'name = "bell"\n    config_type = dict', ".config_type must be a subclass of PluginConfig"),
        ("pitch: int", "model_config = {'extra': 'allow'}\n    pitch: int", "frozen and extra='forbid'"),
        ("pitch: int", "model_config = {'frozen': False}\n    pitch: int", "frozen and extra='forbid'"),
        ("pitch: int", "pitch: __import__('typing').Callable[[], int]", "no JSON Schema"),
    ],
)
def test_channels_that_break_a_rule_are_refused(workshop: Workshop, good: str, bad: str, told: str) -> None:
    assert good in BELL
    assert told in refusal(workshop, BELL.replace(good, bad))


EVALUATOR = """
from pulse_core.api import Evaluator, Judgement, hookimpl

class Judge(Evaluator[dict]):
    name = "judge"
    memory_type = dict
    def observe(self, device, memory, reading, listening, now_us): return Judgement(None)
    def wake(self, device, memory, listening, now_us): return Judgement(None)

@hookimpl
def pulse_register_evaluators(): return [Judge]
"""


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("memory_type = dict", "", ".memory_type is missing"),
        ("def observe", "async def observe", ".observe must not be async"),
    ],
)
def test_evaluators_that_break_a_rule_are_refused(workshop: Workshop, good: str, bad: str, told: str) -> None:
    assert told in refusal(workshop, EVALUATOR.replace(good, bad))


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("transactional = True", "", ".transactional must be True or False"),
        ("async def write", "def write", ".write must be async"),
        ("pulse_register_telemetry_stores", "pulse_register_telemetry_store", "did you mean"),
    ],
)
def test_stores_that_break_a_rule_are_refused(workshop: Workshop, good: str, bad: str, told: str) -> None:
    assert told in refusal(workshop, STORE.replace('"memory"', '"bell"').replace(good, bad))


def test_two_plugins_cannot_bring_the_same_channel(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": BELL, "gong": BELL}, version="3.0")
    with pytest.raises(PluginError, match=r"'gong'.*already a channel 'bell', from plugin 'bell' \(stranger 3\.0\)"):
        load_plugins(config_for("bell", "gong"))


def test_kinds_have_names_of_their_own(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": BELL, "judge": EVALUATOR.replace('"judge"', '"bell"')})
    plugins = load_plugins(config_for("bell", "judge"))
    assert (list(plugins.channels), [judge.name for judge in plugins.evaluators]) == (["bell"], ["bell"])


def test_schema_of_a_channel_has_help_and_marks_secrets(workshop: Workshop) -> None:
    workshop.install("stranger", {"bell": BELL})
    schema = channel_schema(load_plugins(config_for("bell")).channels["bell"])
    assert schema["properties"]["pitch"]["description"] == "In hertz."
    assert schema["properties"]["key"]["writeOnly"] is True
    assert schema["additionalProperties"] is False


def test_hooks_of_hosts_must_be_plain_functions_too(workshop: Workshop) -> None:
    extra = "@hookimpl(optionalhook=True)\nasync def pulse_server_register_blueprints(): return []\n"
    assert "pulse_server_register_blueprints must be a plain" in refusal(workshop, f"{BELL}\n{extra}")
