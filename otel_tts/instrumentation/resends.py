"""Instrumentor of resends: requests that the SDKs of vendors send again by themselves within one call, observed at the HTTP client."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.context import get_current

from otel_tts.core.guard import guard, guarded, guarded_or
from otel_tts.core.invocation import INVOCATION, Invocation
from otel_tts.core.resends import Resends
from otel_tts.core.telemetry import Telemetry
from otel_tts.instrumentation.instrumentor import Instrumentor
from otel_tts.instrumentation.patch import Patch

_FAILED = 400
"""The lowest HTTP status of a failure."""


class ResendsInstrumentor(Instrumentor):
    """Instrumentor of requests inside an attempt.

    They are sent by httpx and httpx2 (OpenAI, Cartesia, others), botocore, aiobotocore, Google's clients, google-genai and edge-tts.
    """

    def patches(self, telemetry: Telemetry) -> Sequence[Patch]:
        """Return the patches of functions that send a request, or decide to send it again."""
        google = "google.api_core.retry"
        return [
            *(Patch(module, "Client.send", lambda _: _send) for module in ("httpx", "httpx2")),
            *(Patch(module, "AsyncClient.send", lambda _: _send_async) for module in ("httpx", "httpx2")),
            Patch("botocore.endpoint", "Endpoint._needs_retry", lambda _: _needs_retry),
            Patch("aiobotocore.endpoint", "AioEndpoint._needs_retry", lambda _: _needs_retry_async),
            Patch(f"{google}.retry_unary", "retry_target", lambda _: functools.partial(_retry_target, _RetriedCall)),
            Patch(f"{google}.retry_unary_async", "retry_target", lambda _: functools.partial(_retry_target, _AsyncTarget)),
            # Over aiohttp, where that is installed; over httpx both are seen, and a resend counts once.
            Patch("google.genai._api_client", "BaseApiClient._async_request_once", lambda _: _once_async, optional=True),
            Patch("edge_tts.drm", "DRM.handle_client_response_error", lambda _: _clock_was_wrong),
        ]


@guarded_or(lambda: None)
def _here() -> Resends | None:
    """Return the resends of the attempt of the current context. Of one that has ended, nothing is recorded any more."""
    reference = get_current().get(INVOCATION)
    invocation = reference() if callable(reference) else None
    return invocation.resends if isinstance(invocation, Invocation) else None


# -- httpx -------------------------------------------------------------------------------------------------------------------------


def _send(send: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    resends = _here()
    if resends is None:
        return send(*args, **kwargs)
    request = _sending(resends, args, kwargs)
    try:
        response = send(*args, **kwargs)
    except Exception as error:
        _failed(resends, request, error)
        raise
    _answered(resends, request, response)
    return response


async def _send_async(send: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    resends = _here()
    if resends is None:
        return await send(*args, **kwargs)
    request = _sending(resends, args, kwargs)
    try:
        response = await send(*args, **kwargs)
    except Exception as error:
        _failed(resends, request, error)
        raise
    _answered(resends, request, response)
    return response


@guarded_or(lambda *_: None)
def _sending(resends: Resends, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
    sent = args[0] if args else kwargs["request"]
    request = (str(sent.method), str(sent.url))
    resends.sending(request)
    return request


@guarded
def _failed(resends: Resends, request: object, error: Exception) -> None:
    resends.failed(request, error)


@guarded
def _answered(resends: Resends, request: object, response: Any) -> None:
    if response.status_code >= _FAILED:
        resends.failed(request, None, response.status_code)


# -- botocore ----------------------------------------------------------------------------------------------------------------------


def _needs_retry(needs_retry: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the decision of botocore to send a request again. The pause before the resend is part of that call."""
    resends = _here()
    if resends is None:
        return needs_retry(*args, **kwargs)
    since_ns = resends.now_ns()
    needed = needs_retry(*args, **kwargs)
    if needed:
        _resent_by_botocore(resends, args, kwargs, since_ns)
    return needed


async def _needs_retry_async(needs_retry: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap the same decision of aiobotocore."""
    resends = _here()
    if resends is None:
        return await needs_retry(*args, **kwargs)
    since_ns = resends.now_ns()
    needed = await needs_retry(*args, **kwargs)
    if needed:
        _resent_by_botocore(resends, args, kwargs, since_ns)
    return needed


def _resent_by_botocore(resends: Resends, args: tuple[Any, ...], kwargs: dict[str, Any], since_ns: int) -> None:
    try:
        _attempts, _operation, _request, response, error = (*args, *_rest(len(args), kwargs))
        resends.resent(error, response[0].status_code if response is not None else None, since_ns)
    except Exception as fault:  # noqa: BLE001 - the boundary: this is the host's call
        guard.caught("reading a retry of botocore's", fault)


def _rest(given: int, kwargs: dict[str, Any]) -> list[Any]:
    return [kwargs.get(name) for name in ("attempts", "operation_model", "request_dict", "response", "caught_exception")[given:]]


# -- Google ------------------------------------------------------------------------------------------------------------------------


class _RetriedCall:
    """Wrapper of the function that Google's client calls until it succeeds."""

    def __init__(self, target: Callable[[], Any], resends: Resends) -> None:
        self._target = target
        self._resends = resends

    def __call__(self) -> Any:
        _sends(self._resends)
        try:
            return self._target()
        except Exception as error:
            _failed(self._resends, None, error)
            raise


class _AsyncTarget(_RetriedCall):
    async def __call__(self) -> Any:
        _sends(self._resends)
        try:
            return await self._target()
        except Exception as error:
            _failed(self._resends, None, error)
            raise


@guarded
def _sends(resends: Resends) -> None:
    resends.sending(None)  # one retry loop sends only one request, so it needs no identity


def _retry_target(observed: type[_RetriedCall], retry: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    resends = _here()
    if resends is None:
        return retry(*args, **kwargs)
    if args:
        return retry(observed(args[0], resends), *args[1:], **kwargs)
    if "target" in kwargs:
        kwargs = {**kwargs, "target": observed(kwargs["target"], resends)}
    return retry(*args, **kwargs)


async def _once_async(once: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Wrap what google-genai's client does until it succeeds, where the host asks for that."""
    resends = _here()
    if resends is None:
        return await once(*args, **kwargs)
    return await _AsyncTarget(functools.partial(once, *args, **kwargs), resends)()


# -- edge-tts ----------------------------------------------------------------------------------------------------------------------


def _clock_was_wrong(correct: Any, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Note a resend: the service rejected a signature with a wrong time, and the package corrects the time and sends it again."""
    result = correct(*args, **kwargs)
    resends, error = _here(), args[0] if args else kwargs.get("e")
    if resends is not None and isinstance(error, Exception):
        _resent(resends, error)
    return result


@guarded
def _resent(resends: Resends, error: Exception) -> None:
    resends.resent(error, None, resends.now_ns())
