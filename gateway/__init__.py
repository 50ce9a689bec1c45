"""The shell: HTTP, model servers, stores, telemetry.  Does; never decides."""
