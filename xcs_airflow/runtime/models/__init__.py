"""Asking models: one provider per file, chosen by the settings of the run, replaceable in tests.

It knows providers and how to reach them; it does not know steps, caches or ledgers.
"""

from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest, Provider, use_provider

__all__ = ["AttemptError", "ModelAnswer", "ModelRequest", "Provider", "use_provider"]
