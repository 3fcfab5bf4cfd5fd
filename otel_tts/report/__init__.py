"""The batch job: windows of telemetry into MLflow, judged against a reference with Evidently."""
