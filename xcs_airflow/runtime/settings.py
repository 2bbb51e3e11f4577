"""Where a task finds its store, its cache and its models: settings, read from the environment and checked at once.

It knows names and defaults; it opens nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError, model_validator

from xcs_airflow.canonical import DocumentError, load_json
from xcs_airflow.errors import CODES, Finding, RuntimeTaskError
from xcs_airflow.runtime.endpoints import why_not
from xcs_airflow.values import Frozen

CACHE_SCHEMES = ("sqlite:///", "s3://", "gs://", "file://", "redis://", "rediss://", "unix://", "memory", "off")
SMALLEST_CACHE_BYTES = 1_000_000
STORE_SCHEMES = ("s3://", "gs://", "file://")


class ModelRoute(Frozen):
    """Where calls to a provider, or to one model, go. Only the operator of a run sets it, never a pipeline.

    Attributes:
        endpoint: Address of an API, as in `https://host/v1`.
        protocol: What is spoken there: `openai`, `anthropic`, `local`, or the name of a provider that is installed; None means `openai`.
        key_env: Name of the environment variable that holds the key; None sends no key.
        model: The model's name at the endpoint; None takes the part after the provider.
        use: Ask this model instead, as in `local/smollm2-135m-instruct`.
        billing: `list` when calls cost what the price list says, `none` when they cost nothing.
        max_in_flight: How many calls may wait for an answer at a time; None leaves it to the task.
        requests_per_minute: How many calls may begin in a minute; None means no limit.
        tokens_per_minute: How many tokens, of requests and answers together, may be used in a minute; None means no limit.
        timeout_s: Seconds after which one attempt is given up.
        token_limit: The name the endpoint has for the longest answer.
        allow_link_local: Whether the endpoint may be a link-local address or a cloud's metadata service.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s/]+")
    protocol: str | None = Field(default=None, min_length=1)
    key_env: str | None = None
    model: str | None = None
    use: str | None = None
    billing: Literal["list", "none"] = "list"
    max_in_flight: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    timeout_s: float = Field(default=120, gt=0)
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"  # noqa: S105  # tokens of text
    allow_link_local: bool = False

    @model_validator(mode="after")
    def _endpoint_is_one(self) -> Self:
        reason = None if self.endpoint is None else why_not(self.endpoint, allow_link_local=self.allow_link_local)
        if reason is not None:
            message = f"the endpoint is refused: {reason}"
            raise ValueError(message)
        return self

    @property
    def leads_somewhere(self) -> bool:
        """Whether it says where calls go, not only how."""
        return self.endpoint is not None or self.protocol is not None or self.use is not None


DEFAULT_ROUTES: Mapping[str, ModelRoute] = {
    # OpenAI retired `max_tokens`; its reasoning models refuse it (platform.openai.com/docs/api-reference/chat/create).
    "openai": ModelRoute(endpoint="https://api.openai.com/v1", key_env="OPENAI_API_KEY", token_limit="max_completion_tokens"),  # noqa: S106
    "anthropic": ModelRoute(endpoint="https://api.anthropic.com/v1", protocol="anthropic", key_env="ANTHROPIC_API_KEY"),
    "local": ModelRoute(protocol="local", billing="none"),
}

_ROUTES = TypeAdapter(dict[str, ModelRoute])
_Text = Annotated[str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value)]


class RuntimeSettings(Frozen):
    """How a process runs tasks.

    Attributes:
        store: Folder or address (`s3://`, `gs://`) of results and ledgers.
        cache: Address of the response cache: `sqlite:///path`, `s3://`, `gs://`, `file://`, `redis://`, `rediss://`, `unix://`, `memory`
            or `off`; None puts it by the store.
        cache_max_bytes: How large a SQLite cache may become; None means no limit.
        cache_key_env: Name of the environment variable with the keys that the cache is encrypted with; None encrypts nothing.
        models: Routes by `provider` or `provider/model`; the longer name wins.
        code: Folder that holds the pipeline's own modules; None imports from wherever Python does.
        tenant: A word that enters every cache key: tenants never share answers.
        prices: A price file that overrides the price data.
        local_model: A GGUF file for models of `local/`; None takes the one of the name.
    """

    store: _Text = ".xcs/store"
    cache: _Text | None = None
    cache_max_bytes: int | None = Field(default=None, ge=SMALLEST_CACHE_BYTES)
    cache_key_env: str | None = Field(default=None, min_length=1)
    models: dict[str, ModelRoute] = Field(default_factory=dict)
    code: Path | None = None
    tenant: str = ""
    prices: Path | None = None
    local_model: Path | None = None

    @property
    def cache_address(self) -> str:
        """Where the cache is, the default filled in."""
        if self.cache is not None:
            return self.cache
        if self.store.startswith(("s3://", "gs://")):
            return f"{self.store.rstrip('/')}/cache"
        return f"sqlite:///{Path(self.store.removeprefix('file://')).parent / 'cache.sqlite'}"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Settings from `XCS_*` variables.

        Args:
            environ: The variables; by default those of this process.
            **given: Settings that win over the environment; None counts as not given.

        Raises:
            RuntimeTaskError: Variables are not valid (XCS611); the error carries every finding.
        """
        if environ is None and all(value is None for value in given.values()):
            settings = _of_process(_texts_of_process())
            return settings if isinstance(settings, cls) else cls.model_validate(settings.model_dump())
        variables = os.environ if environ is None else environ
        findings: list[Finding] = []
        values: dict[str, Any] = {}
        for name in cls.model_fields:
            text = variables.get(f"XCS_{name.upper()}")
            if given.get(name) is not None:
                values[name] = given[name]
            elif text:
                values[name] = _read(name, text, findings)
        if findings:
            raise RuntimeTaskError(findings)
        return cls(**values)


_VARIABLES = tuple(f"XCS_{name.upper()}" for name in RuntimeSettings.model_fields)


_KEYS = tuple(map(os.environ.encodekey, _VARIABLES))


def _texts_of_process() -> tuple[str | bytes | None, ...]:
    """The values of all variables, as `os.environ` holds them: to get them decoded takes longer than a lookup in the cache."""
    held: dict[str | bytes, str | bytes] | None = getattr(os.environ, "_data", None)
    return tuple(map(os.environ.get, _VARIABLES)) if held is None else tuple(map(held.get, _KEYS))


@lru_cache(maxsize=4)
def _of_process(texts: tuple[str | bytes | None, ...]) -> RuntimeSettings:
    """Settings from the values of all variables: whoever asks a model at once reads them before every call, and they hardly change."""
    given = {name: os.fsdecode(text) for name, text in zip(_VARIABLES, texts, strict=True) if text is not None}
    return RuntimeSettings.from_environment(given)


def _read(name: str, text: str, findings: list[Finding]) -> Any:
    variable = f"XCS_{name.upper()}"
    if name == "models":
        try:
            return _ROUTES.validate_python(load_json(text))
        except DocumentError as error:
            findings.append(Finding.of("XCS611", name=variable, reason=CODES[error.code].message.format_map(error.facts)))
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=False, include_input=False):
                where = ".".join(str(step) for step in detail["loc"]) or "the document"
                findings.append(Finding.of("XCS611", name=variable, reason=f"{where}: {detail['msg']}"))
    elif name in ("store", "cache") and not _is_address(name, text):
        known = ", ".join(CACHE_SCHEMES if name == "cache" else ("a folder", *STORE_SCHEMES))
        shown = text if "@" not in text else f"{text.partition(':')[0]}:…"  # a password may be in it
        findings.append(Finding.of("XCS611", name=variable, reason=f"{shown!r} is not one of {known}"))
    elif name == "cache_max_bytes" and not (text.isdecimal() and int(text) >= SMALLEST_CACHE_BYTES):
        findings.append(Finding.of("XCS611", name=variable, reason=f"{text!r} is not a number of at least {SMALLEST_CACHE_BYTES} bytes"))
    return text


def _is_address(name: str, text: str) -> bool:
    if name == "store":
        return "://" not in text or text.startswith(STORE_SCHEMES)
    return text in ("memory", "off") or text.startswith(tuple(scheme for scheme in CACHE_SCHEMES if ":" in scheme))
