"""From a model's name to whoever answers: routes of the settings, the built-in ones, and redirects.

It knows names and addresses; it does not send anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from xcs_airflow.errors import ModelError
from xcs_airflow.runtime.models.protocols import DEFAULT, check, opener
from xcs_airflow.runtime.models.provider import Provider, override
from xcs_airflow.runtime.settings import DEFAULT_ROUTES, ModelRoute, RuntimeSettings

_LONGEST_CHAIN = 4
_OVER_HTTP = frozenset({"openai", "anthropic"})
_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Target:
    """Where the calls of one model go.

    Attributes:
        model: The model as the pipeline names it.
        answered_by: The model that answers, after redirects, as `provider/name`.
        provider: Who answers.
        served_model: Its name there.
        address: Endpoint, or what else tells this place from others; part of every cache key.
        route: How to call it.
        weights: The file of a model that runs in this process.
        is_stand_in: Whether a test answers instead; then nobody waits between attempts.
    """

    model: str
    answered_by: str
    provider: str
    served_model: str
    address: str
    route: ModelRoute
    weights: Path | None = None
    is_stand_in: bool = False

    @property
    def key(self) -> str | None:
        """The secret for this endpoint and no other.

        Raises:
            ModelError: The variable is not set (XCS706), or holds no key (XCS712).
        """
        if self.route.key_env is None:
            return None
        key = self.secret
        if key is None:
            raise ModelError.because("XCS706", name=self.route.key_env, model=self.model)
        if not _KEY.fullmatch(key):
            raise ModelError.because("XCS712", name=self.route.key_env, model=self.model)
        return key

    @property
    def secret(self) -> str | None:
        """What nobody may see: the key, whether or not it is a good one; None when there is none."""
        return (os.environ.get(self.route.key_env, "").strip() or None) if self.route.key_env is not None else None


def target_of(model: str, settings: RuntimeSettings) -> Target:
    """Where the calls of a model go.

    Raises:
        ModelError: Nobody is configured for it (XCS701), nobody speaks its protocol (XCS710), or the local model cannot be found (XCS707).
    """
    stand_in = override()
    if stand_in is not None:
        provider, _, served = model.partition("/")
        address = f"use_provider:{type(stand_in).__qualname__}"
        return Target(model, model, provider, served, address, ModelRoute(), is_stand_in=True)
    name, route = _followed(model, settings)
    provider, slash, own_name = name.partition("/")
    served = route.model or (own_name if slash else name)
    protocol = route.protocol or DEFAULT
    check(protocol, model)
    if route.endpoint is not None:
        return Target(model, name, provider, served, route.endpoint.rstrip("/"), route)
    if protocol == "local":
        from xcs_airflow.runtime.models.local import weights_of  # noqa: PLC0415  # looks at the disk

        weights = weights_of(model, served, settings.local_model)
        return Target(model, name, provider, served, f"weights:{weights.name}:{weights.stat().st_size}", route, weights)
    if protocol in _OVER_HTTP:
        raise _no_endpoint(model, name)
    return Target(model, name, provider, served, f"{protocol}:", route)


@asynccontextmanager
async def provider_for(target: Target, in_flight: int) -> AsyncIterator[Provider]:
    """Whoever answers the calls of a target, ready while the block runs."""
    stand_in = override()
    if stand_in is not None:
        yield stand_in
    else:
        async with opener(target.route.protocol or DEFAULT, target.model)(target, in_flight) as provider:
            yield provider


def _followed(model: str, settings: RuntimeSettings) -> tuple[str, ModelRoute]:
    name = model
    for _ in range(_LONGEST_CHAIN):
        route = _route_of(name, settings)
        if route.use is None:
            return name, route
        name = route.use
    raise ModelError.because("XCS701", model=model, instead=f"the routes lead in a circle, by way of {name}")


def _route_of(name: str, settings: RuntimeSettings) -> ModelRoute:
    """The route of a model; what its own does not say, that of its provider says, and then the built-in one.

    A route with an endpoint of its own inherits nothing: a key is bound to the host it is for.
    """
    provider = name.partition("/")[0]
    built_in = DEFAULT_ROUTES.get(provider, ModelRoute())
    merged = ModelRoute()
    for layer in (settings.models.get(name), settings.models.get(provider), built_in):
        if layer is not None and not merged.leads_somewhere:
            own = {field: getattr(merged, field) for field in merged.model_fields_set}
            merged = layer.model_copy(update=own)
    return merged if "billing" in merged.model_fields_set else merged.model_copy(update={"billing": built_in.billing})


def _no_endpoint(model: str, name: str) -> ModelError:
    provider, slash, _ = name.partition("/")
    example = f'{{"{provider if slash else name}": {{"endpoint": "https://host/v1", "key_env": "NAME_OF_THE_VARIABLE"}}}}'
    return ModelError.because("XCS701", model=model, instead=f"set XCS_MODELS to something like {example}")
