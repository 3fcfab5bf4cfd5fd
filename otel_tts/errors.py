"""Every exception of otel-tts, below one base. A name after a comma is a built-in or foreign class that the exception is as well.

::

    OtelTtsError
    ├── SettingError, ValueError                    a setting or an argument cannot be used
    ├── SpeaksGRPCError, RequestException           telemetry is sent by HTTP to a receiver of gRPC
    ├── UnreadableAudioError, ValueError            bytes are not the audio that they should be
    │
    │   The readers
    ├── HistoryUnavailableError, ConnectionError    a source of history does not answer, or not as it should
    │   └── HistoryIncompleteError                  it answered with only a part
    ├── NoResponseError, ConnectionError            a server gave no response
    │   ├── TLSError                                no TLS connection
    │   └── UnreachableError                        nothing listens at the address, or the name is unknown
    ├── SourceUnavailableError                      what the live dashboard reads does not answer
    ├── TrackingUnreachableError                    MLflow cannot be used
    ├── UnknownReferenceError                       there is no such reference
    ├── AnotherJobError                             another report job is running
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

Each is defined where it is raised; here are the base, and what users of every part may have to catch.
"""

from __future__ import annotations


class OtelTtsError(Exception):
    """An error of otel-tts. No observed request ever sees one."""


class SettingError(OtelTtsError, ValueError):
    """A setting or an argument cannot be used; the message names it, its value and what is allowed."""
