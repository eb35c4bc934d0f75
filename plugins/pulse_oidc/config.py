"""What an operator writes under ``[plugins.oidc]``."""

from __future__ import annotations

from typing import Annotated, Literal

from pulse_core.api import AUDIENCE, ConfigError, Field, PluginConfig, Role, SecretStr, WebUrl, field_validator, origin

_Word = Annotated[str, Field(min_length=1, max_length=255)]
ClaimPath = _Word | tuple[_Word, ...]


class OidcConfig(PluginConfig):
    """The provider, ourselves as its client, and where its tokens say who somebody is.

    A path to a claim is written ``realm_access.roles``: through objects, and every element of an array is searched.
    Where a name holds a dot itself, write the names as a list: ``["https://example.com/role"]``.
    """

    issuer: WebUrl | None = None
    """The provider's issuer, letter by letter as its discovery document has it. Needed."""
    client_id: str = Field("", max_length=255)
    """As what we are registered there. Needed."""
    client_secret: SecretStr | None = None
    """None: we are a public client, and PKCE alone protects a login."""
    audience: _Word = AUDIENCE
    """What the ``aud`` of an access token must hold that a program shows us."""
    scopes: tuple[_Word, ...] = ("openid", "email")
    """What a login asks for."""
    tenant_claim: ClaimPath = "tenant_id"
    """Path to a customer's tenant."""
    role_claim: ClaimPath = "role"
    """Path to the role."""
    roles: dict[str, Role] = Field(default_factory=dict)
    """The provider's names of our roles: ``{"pulse-admins" = "operator_admin"}``. Empty: our own names. Other names
    mean nothing."""
    several_roles: Literal["refuse", "strongest"] = "refuse"
    """Whether somebody with two different roles is refused, or has the stronger one."""
    name_claim: ClaimPath = "sub"
    """Path to what the audit log calls somebody. It must be unique, and nobody may choose it for themselves."""
    origins: tuple[WebUrl, ...] = ()
    """Where the provider's metadata may send us although it is not a public address, as ``https://keys.internal:8443``.
    The issuer's own host and port need not be named."""
    leeway_s: float = Field(10.0, ge=0, le=300)
    """The provider's clock and ours may differ by so much."""
    button: str = Field("Log in with OpenID Connect", min_length=1, max_length=100)
    """What stands on the button that sends people there."""

    @field_validator("issuer")
    @classmethod
    def _plain(cls, issuer: str | None) -> str | None:
        if issuer is not None and "?" in issuer:
            raise ValueError("an issuer has no query")
        return issuer

    @field_validator("client_secret")
    @classmethod
    def _filled_in(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and secret.get_secret_value().startswith("${"):
            raise ValueError("this is a placeholder that nothing was put in for: everybody knows it")
        return secret

    @field_validator("scopes")
    @classmethod
    def _openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes:
            raise ValueError("must hold 'openid': without it nobody says who logged in")
        return scopes

    @property
    def provider(self) -> str:
        """The issuer. Raises ConfigError when it, or the client, is missing."""
        if self.issuer is None or not self.client_id:
            missing = "issuer" if self.issuer is None else "client_id"
            raise ConfigError(f"plugins.oidc.{missing}: is needed; see docs/how-to/oidc.md")
        return self.issuer

    @property
    def named(self) -> tuple[str, ...]:
        """The places that the operator wrote down: these may be called wherever they are."""
        return (origin(self.provider), *map(origin, self.origins))
