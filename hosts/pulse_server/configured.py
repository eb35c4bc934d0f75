"""A customer's integration on its way into the store: checked by the channel's own model, secrets sealed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pulse_core.errors import PermanentFailure, PluginError, SecretUnreadable
from pulse_core.masking import join_secrets, masked, split_secrets, still_masked
from pulse_core.urls import NO_PLAIN_HTTP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import Channel
    from pulse_core.outbox import StoredIntegration
    from pulse_core.plugin_set import Plugins
    from pulse_core.secrets import SecretBox


class UnknownChannel(PermanentFailure):
    """No enabled plugin brings a channel of this type."""


def channel_of(plugins: Plugins, type_: str) -> type[Channel[Any]]:
    """The channel called ``type_``. Raises UnknownChannel, which names those there are."""
    try:
        return plugins.channels[type_]
    except KeyError:
        raise UnknownChannel(f"no channel {type_!r}; there are: {', '.join(plugins.channels) or 'none'}") from None


def sealed(
    channel: type[Channel[Any]], box: SecretBox, config: Mapping[str, Any], *, allow_plain_http: bool
) -> tuple[dict[str, Any], bytes | None]:
    """The two parts in which a configuration is stored: what may be shown, and the encrypted rest.

    :param allow_plain_http: ``Config.allows_plain_http``, the HTTP client's rule; without it, a channel's ``WebUrl`` or
        ``SecretUrl`` that says http is a wrong field, rather than deliveries that fail.
    :raises pydantic.ValidationError: the configuration does not fit the channel's model.
    :raises SecretUnreadable: it holds the mask of a secret where a secret belongs.
    :raises PluginError: the plugin's own code failed over it.
    """
    return _parted(channel, box, config, {}, allow_plain_http)


def resealed(
    channel: type[Channel[Any]],
    box: SecretBox,
    stored: StoredIntegration,
    changes: Mapping[str, Any],
    *,
    allow_plain_http: bool,
) -> tuple[dict[str, Any], bytes | None]:
    """As :func:`sealed`, of a stored configuration with ``changes`` merged into it (RFC 7396: null removes).

    A secret that is not mentioned, or reads ``********``, stays as it is.
    """
    config = _merged(stored.config, changes)
    secrets = box.open(stored.secrets) if stored.secrets is not None else {}
    return _parted(channel, box, config, still_masked(config, secrets), allow_plain_http)


def _merged(whole: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(whole) if isinstance(whole, dict) else {}
    for name, change in changes.items():
        if change is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), change) if isinstance(change, dict) else change
    return result


def _parted(
    channel: type[Channel[Any]],
    box: SecretBox,
    config: Mapping[str, Any],
    secrets: Mapping[str, Any],
    allow_plain_http: bool,
) -> tuple[dict[str, Any], bytes | None]:
    try:
        context = None if allow_plain_http else NO_PLAIN_HTTP
        model = join_secrets(channel.integration_type, config, secrets, context=context)
    except (ValidationError, SecretUnreadable):
        raise
    except Exception as error:
        raise PluginError(f"channel {channel.name!r} failed over this configuration: {type(error).__name__}") from error
    public, secret = split_secrets(model)
    return public, box.seal(secret) if secret else None


def shown(plugins: Plugins, integration: Mapping[str, Any]) -> dict[str, Any]:
    """An integration as people may see it: every secret masked, also one whose plugin is gone."""
    channel = plugins.channels.get(integration["type"])
    config = masked(channel.integration_type if channel else None, integration["config"])
    return {**integration, "config": config}
