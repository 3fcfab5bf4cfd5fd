"""The service's settings."""

from __future__ import annotations

import pytest

from otel_tts.service import ServiceConfig
from otel_tts.service.cache import TierURL
from otel_tts.settings import SettingError


def test_the_defaults_serve_on_this_machine() -> None:
    """With an engine of a permissive licence and a cache in memory."""
    config = ServiceConfig.load({})
    assert (config.host, config.port, config.providers, config.cache) == (
        "127.0.0.1",
        50053,
        ("hibari",),
        (TierURL("memory", "", 64 * 10**6, 3600.0),),
    )


def test_everything_can_be_set() -> None:
    """Each variable arrives as what it means."""
    config = ServiceConfig.load(
        {
            "TTS_HOST": "0.0.0.0",
            "TTS_PORT": "0",
            "TTS_PROVIDERS": "hibari, piper",
            "TTS_CACHE_URL": "memory://?size=1MB, file:///var/cache/tts%20audio?size=1GiB&ttl=60, rediss://:pw@cache:7000/3?ttl=5&socket_timeout=1",
            "TTS_CONCURRENCY": "3",
            "TTS_QUEUE_SIZE": "7",
            "TTS_MAX_TEXT": "99",
            "TTS_ATTEMPT_TIMEOUT": "1.5",
            "TTS_CIRCUIT_FAILURES": "2",
            "TTS_CIRCUIT_COOLDOWN": "3",
            "TTS_PROBE_INTERVAL": "0",
            "TTS_STOP_GRACE": "0",
        }
    )
    assert config == ServiceConfig(
        host="0.0.0.0",
        port=0,
        providers=("hibari", "piper"),
        cache=(
            TierURL("memory", "", 10**6, 3600.0),
            TierURL("files", "/var/cache/tts audio", 2**30, 60.0),
            TierURL("redis", "rediss://:pw@cache:7000/3?socket_timeout=1", 0, 5.0),
        ),
        concurrency=3,
        queue_size=7,
        max_text=99,
        attempt_timeout=1.5,
        circuit_failures=2,
        circuit_cooldown=3.0,
        probe_interval=0.0,
        stop_grace=0.0,
    )
    assert repr(config.cache) == "(memory, files /var/cache/tts audio, rediss://cache:7000/3)"
    assert ServiceConfig.load({"TTS_CACHE_URL": "OFF"}).cache == ()


@pytest.mark.parametrize(
    "variable",
    [
        "TTS_PROVIDERS=polly", "TTS_PROVIDERS=piper,piper", "TTS_PROVIDERS=,", "TTS_ATTEMPT_TIMEOUT=0", "TTS_ATTEMPT_TIMEOUT=nan",
        "TTS_CIRCUIT_COOLDOWN=-1", "TTS_QUEUE_SIZE=0", "TTS_CACHE_URL=disk://x", "TTS_CACHE_URL=memory", "TTS_CACHE_URL=memory://here",
        "TTS_CACHE_URL=memory://,memory://", "TTS_CACHE_URL=memory://?size=0", "TTS_CACHE_URL=memory://?size=big",
        "TTS_CACHE_URL=memory://?ttl=0", "TTS_CACHE_URL=memory://?max=1", "TTS_CACHE_URL=file://relative/path", "TTS_CACHE_URL=file:///",
        "TTS_CACHE_URL=redis://", "TTS_CACHE_URL=redis://host:port", "TTS_CACHE_URL=redis://host:99999",
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_name(variable: str) -> None:
    """The message has the variable, the value and what is allowed."""
    name, _, value = variable.partition("=")
    with pytest.raises(SettingError) as refused:
        ServiceConfig.load({name: value})
    assert str(refused.value).startswith(f"{name}={value!r} is not allowed: it takes ")
