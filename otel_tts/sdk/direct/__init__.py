"""The direct path: our spans are encoded to OTLP bytes and our histograms kept in cells, without the SDK's objects between.

It is used only if `otel_tts.configure` has built the provider and everything on it is ours; `otel_tts.sdk.direct.path` decides, and
gives the reason if not. Everywhere else, and as the reference, there is the SDK's own path: both emit the same.
"""
