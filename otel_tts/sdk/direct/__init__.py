"""The direct path: spans of ours leave as OTLP bytes, histograms of ours are kept in cells, without the SDK's objects between.

It stands only where `otel_tts.configure` has built the provider and everything on it is ours; `otel_tts.sdk.direct.path` decides, and
says why not. Everywhere else, and as the reference, there is the SDK's own path: both emit the same.
"""
