"""Instrumentor of sherpa-onnx, which runs the models of many engines in the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping, Sequence
from pathlib import PurePath
from typing import Any
from weakref import WeakKeyDictionary

from otel_tts.core.audio import PCMFloat32
from otel_tts.core.formats import stated
from otel_tts.core.guard import guard, guarded
from otel_tts.core.outcome import OK
from otel_tts.core.streams import Current
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch, Wrapper
from otel_tts.instrumentation.utterance import Asked, Utterance, begin

_MODULE = "sherpa_onnx.lib._sherpa_onnx"
_KINDS = ("vits", "matcha", "kokoro", "kitten", "zipvoice", "pocket", "supertonic")
_MODELS: MutableMapping[Any, str] = WeakKeyDictionary()
"""The names of the models, which an engine does not tell. Weak keys, so that engines are freed as without us."""


def _files(config: Any) -> Iterator[str]:
    """Yield the model files that a configuration names."""
    for kind in _KINDS:
        part = getattr(config.model, kind, None)
        for name in dir(part):
            value = getattr(part, name)
            if isinstance(value, str) and value.endswith(".onnx"):
                yield value


@guarded
def _remember_model(engine: Any, config: Any) -> None:
    for file in _files(config):
        _MODELS[engine] = PurePath(file).stem
        return


def _init(init: Any, engine: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    init(*args, **kwargs)
    _remember_model(engine, args[0] if args else kwargs.get("config"))


def _ask(engine: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, stream: bool) -> Asked:
    model = _MODELS.get(engine)
    speaker = kwargs.get("sid", args[1] if len(args) > 1 else 0)
    speaker = getattr(speaker, "sid", speaker)  # a GenerationConfig, or the number itself
    several = engine.num_speakers > 1 and isinstance(speaker, int)
    return Asked(
        provider="sherpa_onnx",
        model=model,
        voice=str(speaker) if several else model,
        language=getattr(engine, "lang", "") or None,
        text=args[0] if args else kwargs["text"],
        audio=stated(PCMFloat32, engine.sample_rate),
        stream=stream,
        remote=False,
    )


class _SamplesCallback:
    """The host's callback, which gets the audio in pieces and may stop the engine. Its own time is not the engine's."""

    def __init__(self, callback: Callable[..., Any], utterance: Utterance) -> None:
        self._callback = callback
        self._utterance = utterance
        self._since_ns = utterance.monotonic()
        self.stopped = False

    def __call__(self, samples: Any, *rest: Any) -> Any:
        now_ns = self._utterance.monotonic()
        self._measure(samples, now_ns)
        result = self._callback(samples, *rest)
        self.stopped = result == 0 and result is not None
        self._since_ns = self._utterance.monotonic()
        return result

    @guarded
    def _measure(self, samples: Any, now_ns: int) -> None:
        self._utterance.chunk(samples, now_ns, now_ns - self._since_ns)

    def ended(self) -> None:
        """Count the engine's time after the last piece."""
        self._utterance.waiting(self._utterance.monotonic() - self._since_ns)


class SherpaInstrumentor(Instrumentor):
    """Instrumentor of ``OfflineTts.generate``, with and without a callback."""

    requires = "sherpa-onnx >= 2.0.1, < 3"

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of the call, and of the constructor, which is told the model."""

        def generate(wrapped: Any, engine: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            position = next((index for index, value in enumerate(args) if index > 0 and callable(value)), None)
            callback = kwargs.get("callback") if position is None else args[position]
            utterance = _begin(telemetry, engine, args, kwargs, stream=callback is not None)
            if utterance is None:
                return wrapped(*args, **kwargs)
            if callback is None:
                with utterance:
                    result = wrapped(*args, **kwargs)
                _measure_whole(utterance, result)
                return result
            observed = _SamplesCallback(callback, utterance)
            if position is None:
                kwargs = {**kwargs, "callback": observed}
            else:
                args = (*args[:position], observed, *args[position + 1 :])
            try:
                with Current(utterance.context):
                    result = wrapped(*args, **kwargs)
            except BaseException as error:
                utterance.finished(None, error)
                raise
            observed.ended()
            utterance.finished(None if observed.stopped else OK, None, utterance.monotonic())
            return result

        wrappers: dict[str, Wrapper] = {"__init__": _init, "generate": generate}
        return [Patch(_MODULE, f"OfflineTts.{name}", _always(wrapper)) for name, wrapper in wrappers.items()]


def _always(wrapper: Wrapper) -> Callable[[Any], Wrapper]:
    return lambda _: wrapper


def _begin(telemetry: Telemetry, engine: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, stream: bool) -> Utterance | None:
    try:
        return begin(telemetry, _ask(engine, args, kwargs, stream=stream))
    except Exception as error:  # noqa: BLE001 - the boundary: the host's arguments may be anything, and its own to check
        guard.caught("reading the arguments of OfflineTts.generate", error)
        return None


@guarded
def _measure_whole(utterance: Utterance, result: Any) -> None:
    import numpy as np  # what the engine itself has loaded

    utterance.whole(np.asarray(result.samples, np.float32))
