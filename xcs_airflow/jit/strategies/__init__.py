"""Ways to run a function with `@jit`, one per file."""

from xcs_airflow.jit.strategies.adaptive import AdaptiveLLMStrategy
from xcs_airflow.jit.strategies.direct import DirectStrategy
from xcs_airflow.jit.strategies.llm_aware import LLMAwareStrategy
from xcs_airflow.jit.strategies.strategy import Strategy

__all__ = ["AdaptiveLLMStrategy", "DirectStrategy", "LLMAwareStrategy", "Strategy"]
