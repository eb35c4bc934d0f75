"""What an operator may change while the platform runs: the live settings of CONTRACTS, one frozen record."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pulse_core.config import explain
from pulse_core.errors import ConfigError


class Settings(BaseModel):
    """The live settings. Stored as (name, value) rows; a name that is absent has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    MODE: Literal["PROD", "DEV"] = "PROD"
    """DEV allows refused messages to be kept, to look at. PROD forces both reject flags off, for good."""
    STORE_REJECTS: bool = False
    """Keep reason, topic and parsed payload of refused messages. Only in MODE DEV."""
    MIRROR_REJECTS_TO_RAW: bool = False
    """Keep the raw bytes of refused messages as well. Only in MODE DEV."""
    MAX_PAYLOAD_BYTES: int = Field(8192, ge=256, le=262_144)
    """A larger payload is refused as PAYLOAD_TOO_LARGE."""
    RATE_LIMIT_RPS: float = Field(5.0, gt=0, le=100_000)
    """Messages a second that a device may send for ever. Beyond, QoS 1 and 2 are read more slowly, all else refused."""
    RATE_LIMIT_BURST: int = Field(20, ge=1, le=1_000_000)
    """Messages that a device may send at once, after it was silent for a while."""
    TELEMETRY_RETENTION_DAYS: int = Field(90, ge=1, le=3650)
    """Readings older than this are dropped; a message older than this is refused as TIMESTAMP_OUT_OF_RANGE."""

    def as_mode_allows(self) -> Settings:
        """What is saved: PROD forces both reject flags off, so that a later DEV does not find them on."""
        if self.MODE == "DEV":
            return self
        return self.model_copy(update={"STORE_REJECTS": False, "MIRROR_REJECTS_TO_RAW": False})

    @property
    def stores_rejects(self) -> bool:
        """STORE_REJECTS, as MODE allows it."""
        return self.MODE == "DEV" and self.STORE_REJECTS

    @property
    def mirrors_rejects(self) -> bool:
        """MIRROR_REJECTS_TO_RAW, as MODE allows it."""
        return self.MODE == "DEV" and self.MIRROR_REJECTS_TO_RAW


def parse_settings(values: dict[str, Any]) -> Settings:
    """Check (name, value) pairs. Raises ConfigError that names each wrong one."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigError(explain(error, Settings)) from error
