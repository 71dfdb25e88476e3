//! What both services need and neither is about: configuration, identity, telemetry, problem+json, health, shutdown.
