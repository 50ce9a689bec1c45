"""OpenTelemetry's metrics of generative AI, as Prometheus spells them.

They say again, for tools that know nothing else, what the gateway's own metrics say better;
docs/metrics.md tells how names, labels and buckets map, and where they differ.  Towards its clients
the gateway is the server of one model, the cascade; towards the model servers it is a client.
"""

from functools import cached_property

from prometheus_client import CollectorRegistry

from gateway.facts import SPARE, Leg, RequestSettled
from gateway.telemetry.histogram import Buckets, HistogramFamily
from gateway.telemetry.pair_metrics import OTHER
from routing.vocabulary import Role

CHAT = "chat"
# What is asked speaks OpenAI's protocol, whoever it is; what answers is no provider OTel lists.
CLIENT_PROVIDER = "openai"
SERVER_PROVIDER = "understudy"
# The value for an error without a name of its own; the gateway's metrics have the names.
ERROR = "_OTHER"
NO_ERROR = ""

# The boundaries that the semantic conventions advise.
_DURATIONS = tuple(0.01 * 2**step for step in range(14))
_TOKENS = tuple(4**step for step in range(14))
_FIRST_TOKEN = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


class GenAiMetrics:
    """What metrics.py has of OpenTelemetry's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._models: dict[tuple[str, Role], str] = {}
        self._clients: dict[tuple[str, Role], _Client] = {}
        self._client_tokens = HistogramFamily(
            "gen_ai_client_token_usage",
            "Number of input and output tokens used by calls to model servers.",
            (*_LABELS, "gen_ai_token_type"),
            _TOKENS,
            registry,
        )
        self._client_seconds = HistogramFamily(
            "gen_ai_client_operation_duration_seconds",
            "Duration of calls to model servers.",
            (*_LABELS, "error_type"),
            _DURATIONS,
            registry,
        )
        self._server_seconds = HistogramFamily(
            "gen_ai_server_request_duration_seconds",
            "Duration of requests.",
            (*_LABELS, "error_type"),
            _DURATIONS,
            registry,
        )
        self._first_token = HistogramFamily(
            "gen_ai_server_time_to_first_token_seconds",
            "Time to the first token of answers that were streamed.",
            _LABELS,
            _FIRST_TOKEN,
            registry,
        )
        self._per_token = HistogramFamily(
            "gen_ai_server_time_per_output_token_seconds",
            "Time per output token after the first one of answers that were streamed.",
            _LABELS,
            _PER_TOKEN,
            registry,
        )

    def named(self, cascade: str, role: Role, model: str) -> None:
        """The server of one of a cascade's models knows it by this name, from now on.

        A name that no model has any more is not shown any more.
        """
        before = self._models.get((cascade, role))
        self._models[cascade, role] = model
        self._clients.clear()
        if before is not None and before not in self._models.values():
            for family in (self._client_tokens, self._client_seconds):
                family.remove((CHAT, CLIENT_PROVIDER, before))

    def settled(self, cascade: str, fact: RequestSettled) -> None:
        """Count one request."""
        is_answered = fact.is_answered
        error = NO_ERROR if is_answered else ERROR
        self._server_seconds.labels(CHAT, SERVER_PROVIDER, cascade, error).observe(fact.seconds)
        if fact.first_byte_seconds is None or not is_answered:
            return
        labels = (CHAT, SERVER_PROVIDER, cascade)
        self._first_token.labels(*labels).observe(fact.first_byte_seconds)
        if (seconds := fact.seconds_per_token) is not None:
            self._per_token.labels(*labels).observe(seconds)

    def called(self, cascade: str, leg: Leg) -> None:
        """Count one call to a model."""
        client = self._clients.get((cascade, leg.role))
        if client is None:
            client = self._clients[cascade, leg.role] = self._client(cascade, leg.role)
        if leg.error is None:
            client.answered.observe(leg.seconds)
        elif leg.error != SPARE:
            client.failed.observe(leg.seconds)
        usage = leg.usage
        if usage is not None and (usage.input or usage.output):
            client.input.observe(usage.input)
            client.output.observe(usage.output)

    def _client(self, cascade: str, role: Role) -> "_Client":
        model = self._models.get((cascade, role), OTHER)
        return _Client(self._client_tokens, self._client_seconds, model)


class _Client:
    """What is shown of calls to one model, each of it from its first use on."""

    def __init__(self, tokens: HistogramFamily, seconds: HistogramFamily, model: str) -> None:
        self._tokens = tokens
        self._seconds = seconds
        self._labels = (CHAT, CLIENT_PROVIDER, model)

    @cached_property
    def input(self) -> Buckets:
        return self._tokens.labels(*self._labels, "input")

    @cached_property
    def output(self) -> Buckets:
        return self._tokens.labels(*self._labels, "output")

    @cached_property
    def answered(self) -> Buckets:
        return self._seconds.labels(*self._labels, NO_ERROR)

    @cached_property
    def failed(self) -> Buckets:
        return self._seconds.labels(*self._labels, ERROR)
