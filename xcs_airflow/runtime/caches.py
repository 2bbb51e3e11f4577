"""The caches a process uses, opened as its settings say.

It knows settings; the caches know how answers are kept.
"""

from __future__ import annotations

from xcs_airflow.manifest import CacheRule
from xcs_airflow.runtime.cache import Cache, open_cache
from xcs_airflow.runtime.settings import RuntimeSettings


def cache_at(address: str, settings: RuntimeSettings) -> Cache:
    """The cache at an address: the one that all runs share, or the memory of one run.

    Only the former has a limit to its size: what a run was told already is not asked again while it lasts.

    Args:
        address: Where it is.
        settings: Whose answers, how they are encrypted, and how large the shared one may become.

    Raises:
        RuntimeTaskError: The address or the key cannot be used (XCS608, XCS611, XCS614, XCS617).
    """
    max_bytes = settings.cache_max_bytes if address == settings.cache_address else None
    return open_cache(address, settings.tenant, max_bytes=max_bytes, key_env=settings.cache_key_env)


def shared_cache(settings: RuntimeSettings) -> Cache:
    """The cache that all runs share; errors are those of `cache_at`."""
    return open_cache(settings.cache_address, settings.tenant, max_bytes=settings.cache_max_bytes, key_env=settings.cache_key_env)


def where_remembered(rule: CacheRule | None, settings: RuntimeSettings, memory: str | None) -> str:
    """The address of the cache that has the answers to a question: the one that all runs share, or the memory of one run.

    Args:
        rule: How the answers are remembered; None where no other run may take them.
        settings: Where the shared cache is.
        memory: Address of the memory of a run; None outside of one.
    """
    shared = settings.cache_address
    return memory if memory is not None and (rule is None or shared == "off") else shared
