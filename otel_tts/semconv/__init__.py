"""The registry: every metric, span, event and attribute that otel-tts emits.

A name is defined here and nowhere else: in ``attributes``, ``metrics`` or ``spans``; the closed sets of values are in ``values``. Import
all of them from ``otel_tts.semconv``. Instruments, label limits, documentation, queries and readers use these objects, so renaming a
metric needs one changed line here and ``make generate``.

Names follow the OpenTelemetry naming rules: dots between namespaces, no unit and no ``_total`` in a name, units in UCUM or in
braces. ``rpc.*`` follows the RPC semantic conventions (release candidate); ``gen_ai.*`` follows the GenAI conventions and the
open proposal for text to speech (both Development); ``tts.*`` is ours, for what no convention covers.
"""

# Star imports, so that a new metric or attribute is written in one module only, and can be imported from here.
from otel_tts.semconv.attributes import *  # noqa: F403
from otel_tts.semconv.metrics import *  # noqa: F403
from otel_tts.semconv.spans import *  # noqa: F403
from otel_tts.semconv.values import *  # noqa: F403

SCOPE = "otel_tts"
"""The instrumentation scope of all spans and metrics."""
