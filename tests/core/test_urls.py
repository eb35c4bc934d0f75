"""URLs that a customer may write down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pulse_core.api import IntegrationConfig, SecretUrl, WebUrl, origin
from pulse_core.urls import NO_PLAIN_HTTP


class _Hook(IntegrationConfig):
    url: WebUrl


class _SecretHook(IntegrationConfig):
    url: SecretUrl


GOOD = {
    "https://example.com": "https://example.com:443",
    "https://Example.COM:8443/a/b?c=d&e=%20": "https://example.com:8443",
    "http://example.com/": "http://example.com:80",
    "https://bücher.example/ä": "https://xn--bcher-kva.example:443",
    "https://[2001:db8::1]/x": "https://[2001:db8::1]:443",
    "https://192.0.2.1/": "https://192.0.2.1:443",
    "  https://example.com/  ": "https://example.com:443",
}

BAD = [
    "",
    "example.com",
    "ftp://example.com/",
    "javascript:alert(1)",
    "https://",
    "https:///path",
    "https://me:s3cret@example.com/",
    "https://s3cret@example.com/",
    "https://example.com/#s3cret",
    "https://example.com:0/",
    "https://example.com:99999/s3cret",
    "https://example.com:s3cret/",
    "https://exa mple.com/s3cret",
    "https://example.com/s3cret\nX: y",
    "https://example.com\\@internal/s3cret",
    "https://127.1/s3cret",
    "https://2130706433/s3cret",
    "https://0x7f.1/",
    "https://[::1%25lo]/",
    "https://[::1/s3cret",
    "https://a..b/",
    "https://example.com/" + "s3cret" * 500,
]


@pytest.mark.parametrize(("url", "expected"), GOOD.items())
def test_good(url: str, expected: str) -> None:
    assert origin(_Hook(url=url).url) == expected
    assert origin(_SecretHook.model_validate({"url": url}).url.get_secret_value()) == expected


@pytest.mark.parametrize("url", BAD, ids=range(len(BAD)))
def test_bad_is_refused_without_repeating_it(url: str) -> None:
    for model in (_Hook, _SecretHook):
        with pytest.raises(ValidationError) as caught:
            model.model_validate({"url": url})
        assert "s3cret" not in str(caught.value)
        assert "s3cret" not in json.dumps(caught.value.errors(include_input=False, include_context=False))


def test_where_production_saves_it_http_is_refused() -> None:
    for model in (_Hook, _SecretHook):
        model.model_validate({"url": "http://example.com/"})
        model.model_validate({"url": "HTTPS://example.com/"}, context=NO_PLAIN_HTTP)
        with pytest.raises(ValidationError, match="an https: URL is needed") as caught:
            model.model_validate({"url": "http://example.com/s3cret"}, context=NO_PLAIN_HTTP)
        assert [fault["loc"] for fault in caught.value.errors()] == [("url",)]
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, ["https://example.com"], {"a": 1}, b"\xff"])
def test_what_is_not_text_is_refused(value: Any) -> None:
    for model in (_Hook, _SecretHook):
        with pytest.raises(ValidationError):
            model.model_validate({"url": value})


def test_the_form_knows_which_one_is_secret() -> None:
    plain, secret = (model.model_json_schema()["properties"]["url"] for model in (_Hook, _SecretHook))
    assert plain["format"] == "uri"
    assert secret["writeOnly"]
    assert secret["format"] == "password"
