"""What a request waited for, told by OTLP where somebody wants to know (the extra `[otel]`).

Nothing here is imported otherwise: `service.tracing` decides."""
