"""The part that emits telemetry, from a request's arrival to its spans and metrics: the OpenTelemetry API only, no SDK, no gRPC."""
