"""Whether requests are traced: the setting, the library that it needs, the standard variables.

All but the one setting is said by OpenTelemetry's own variables, which its SDK reads.
"""

import logging
import time
from collections.abc import Sequence
from importlib.metadata import version
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry
from structlog.typing import FilteringBoundLogger

from gateway.cascades import LoadedCascade, ModelConfig
from gateway.config_file import ConfigError
from gateway.ports import Tracing
from gateway.settings import Settings, spelled, standard_variable
from gateway.trace_context import ModelPlace, PassingOn
from routing.vocabulary import Role

_PROTOCOL = "http/protobuf"
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXPORTER = "OTEL_TRACES_EXPORTER"


def tracing_of(
    settings: Settings,
    cascades: Sequence[LoadedCascade],
    registry: CollectorRegistry,
    log: FilteringBoundLogger,
) -> Tracing:
    """Who traces requests.  Raises ConfigError where that is wished and cannot be."""
    if not settings.tracing:
        return PassingOn()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider

        from gateway.telemetry.span_sender import SdkLogHandler, SpanSender
        from gateway.telemetry.tracing import SpanTracing
    except ModuleNotFoundError:
        raise ConfigError(
            f"{spelled('tracing')}: needs the libraries of OpenTelemetry: pip install "
            "'understudy[tracing]', or unset it"
        ) from None
    _take_over_logging(SdkLogHandler(log, time.monotonic))
    own = {"service.name": "understudy", "service.version": version("understudy")}
    resource = Resource.create(own).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    sender = None
    if _is_exporting():
        try:
            sender = SpanSender(OTLPSpanExporter(), registry, log)
        except (ImportError, RuntimeError, ValueError) as error:
            raise ConfigError(f"OTEL_*: the spans' exporter cannot be made: {error}") from None
        provider.add_span_processor(sender)
    return SpanTracing(provider, sender, version("understudy"), _places(cascades))


def _take_over_logging(handler: logging.Handler) -> None:
    logger = logging.getLogger("opentelemetry")
    logger.handlers = [handler]
    logger.propagate = False


def _is_exporting() -> bool:
    """Whether spans go anywhere.  Raises ConfigError for a way that there is not."""
    exporter = standard_variable(_EXPORTER) or "otlp"
    if exporter not in ("otlp", "none"):
        raise ConfigError(f"{_EXPORTER}: must be otlp or none, got {exporter!r}")
    for name in _PROTOCOLS:
        protocol = standard_variable(name) or _PROTOCOL
        if protocol != _PROTOCOL:
            raise ConfigError(
                f"{name}: spans are sent by {_PROTOCOL} alone, got {protocol!r}: set it to that, "
                "and the endpoint to the collector's port for HTTP, mostly 4318"
            )
    return exporter != "none"


def _places(cascades: Sequence[LoadedCascade]) -> dict[tuple[str, Role], ModelPlace]:
    return {
        (one.name, role): _place(config)
        for one in cascades
        for role, config in ((Role.STUDENT, one.config.student), (Role.TEACHER, one.config.teacher))
    }


def _place(config: ModelConfig) -> ModelPlace:
    if len(config.base_urls) > 1:
        return ModelPlace(None, None, config.model)
    parts = urlsplit(config.base_urls[0])
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return ModelPlace(parts.hostname or "", port, config.model)
