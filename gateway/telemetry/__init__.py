"""Facts about requests, as metrics and log lines."""
