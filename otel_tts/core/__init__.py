"""What emits telemetry, from a request's arrival to its figures: the OpenTelemetry API only, no SDK, no gRPC."""
