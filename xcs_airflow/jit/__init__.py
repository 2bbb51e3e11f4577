"""`@jit`: run a function's steps at once, in the form that the passes give them.

It knows when to compile and when not to; graphs, passes and the runtime are those of exported pipelines.
"""

from xcs_airflow.jit.decorator import Jitted, NotCompiledWarning, jit

__all__ = ["Jitted", "NotCompiledWarning", "jit"]
