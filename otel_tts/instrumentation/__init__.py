"""Zero code: telemetry for services, engines and SDKs that were never changed."""
