"""Every exception of otel-tts, below one base class. A name after a comma is another base class, built-in or of a library.

::

    OtelTtsError
    ├── MisuseError, ValueError                     the application gave a value that cannot be used
    ├── SettingError, ValueError                    a setting or an argument cannot be used
    ├── SpeaksGRPCError, RequestException           telemetry is sent by HTTP to a receiver of gRPC
    ├── UnreadableAudioError, ValueError            bytes are not the audio that they should be
    │
    │   The readers
    ├── HistoryUnavailableError, ConnectionError    a source of history does not answer, or not as it should
    │   ├── HistoryIncompleteError                  it answered with only a part
    │   └── UnreadableHistogramError                one service's histogram has other buckets than its metric
    ├── NoResponseError, ConnectionError            a server gave no response
    │   ├── TLSError                                no TLS connection
    │   └── UnreachableError                        nothing listens at the address, or the name is unknown
    ├── SourceUnavailableError                      what the live dashboard reads does not answer
    │   └── FiguresUnknownError                     it answers, but what one service wrote cannot be counted
    ├── TrackingUnreachableError                    MLflow cannot be used
    ├── UnknownReferenceError                       there is no such reference
    ├── AnotherJobError                             another report job is running
    ├── LockError                                   the directory of the report's job cannot be written to
    │
    │   The command line
    ├── GrafanaRefusedError                         Grafana did not do as asked
    ├── HopBrokenError                              `otel-tts doctor`: a hop does not do its part
    │   └── HopAbsentError                          nobody answers there
    ├── HopUnknownError                             a hop cannot be judged
    ├── NoMetricsError                              `otel-tts verify`: there is nothing to read
    ├── ProcessFailedError                          `otel-tts demo`: the service did not serve or stop
    ├── ReportFailedError, ClickException           `otel-tts report` ends with a code of its own
    │
    │   The reference service
    ├── AllProvidersDownError                       no provider works
    ├── BrokenOffError                              the engine failed after some of its audio was delivered
    ├── CorruptEntryError, ValueError               bytes in a cache that are no whole entry
    ├── EngineError, RuntimeError                   an engine misbehaved
    ├── InputRefusedError                           a provider refused the input
    ├── InvalidInputError, ValueError               no engine can speak this request
    ├── MissingEngineError, RuntimeError            the engine's extra is not installed
    ├── NoAudioError                                an engine ended well and gave no audio
    ├── NotFoundError, LookupError                  there is no such voice or provider
    ├── PortTakenError, OSError                     the service cannot have its port
    ├── QueueFullError                              nobody else may wait
    ├── TierError                                   a cache tier could not be asked
    └── UnsupportedError                            this engine or encoding cannot do it; another may

Each is defined where it is raised. Here are the base class, and the exception that users of every part may have to catch.
"""

from __future__ import annotations


class OtelTtsError(Exception):
    """Base class of all errors of otel-tts. None of them is ever raised into an observed request."""


class SettingError(OtelTtsError, ValueError):
    """Error of a setting or an argument that cannot be used; the message names it, its value and what is allowed."""
