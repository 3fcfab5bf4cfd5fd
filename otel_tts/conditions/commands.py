"""What answers a step of a runbook without Grafana: commands, and a query. Braces stand for names that `Condition.steps_for` puts in."""

from __future__ import annotations

from otel_tts.semconv import CACHE_RESULT, PROVIDER_AVAILABLE, CacheResult
from otel_tts.settings import ObjectiveSettings

STATUS = "`otel-tts status --service {service}`"
"""Which conditions are met, and since when."""
FAILED = "`otel-tts requests --problem failed --service {service} --kind interactive`"
"""The requests that failed and that somebody waited for."""
AFFECTED = "`otel-tts requests --problem affected --service {service} --provider {provider}`"
"""The requests that a provider failed, or that had to use another one."""
GAPS = "`otel-tts requests --problem gaps --service {service}`"
"""The streams with gaps."""
SLOW = "`otel-tts requests --slower-than {seconds} --service {service} --provider {provider}`"
"""The requests of a provider that took long."""
LATE = "`otel-tts requests --slower-than {seconds} --service {service} --kind interactive`"
"""The requests that took long and that somebody waited for."""
TRACE = "`otel-tts trace {id}`"
"""One request."""
MISSES = f"`otel-tts requests --service {{service}} --where {CACHE_RESULT.key}={CacheResult.MISS}`"
"""The requests that no cache could answer."""
UNAVAILABLE = f"`{PROVIDER_AVAILABLE.name.replace('.', '_')} == 0`"
"""A query of Prometheus: the replicas that cannot use a provider."""
REPORT = "`otel-tts report --service {service}`"
"""A pass of the batch job."""
REFERENCE = f"`{ObjectiveSettings.variable('reference_latency_p95')}`"
"""The variable with the reference for latency."""
