"""The composition root: builds the gateway from its configuration and connects the parts."""

import asyncio
import os
import random
import shutil
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.chat import ChatCompletions
from gateway.api.context import Context, Limits
from gateway.api.models import Models
from gateway.api.ops import MetricsPage, Readiness, health
from gateway.building import Workshop
from gateway.cascades import LoadedCascade, PairsConfig, doubts_about
from gateway.config_file import ConfigError
from gateway.errors import (
    GatewayError,
    InternalError,
    MethodNotAllowed,
    NotFound,
)
from gateway.keys import Keys
from gateway.ledger import Ledger, posting
from gateway.legs import Model
from gateway.registry import RegistryWatch
from gateway.renting import Rents
from gateway.settings import Settings, spelled, unknown_variables
from gateway.startup import ask_servers
from gateway.stores.generation_store import GenerationStore, SavedGenerations
from gateway.stores.journal import JournalOptions
from gateway.stores.pair_store import PairStore, PairStoreOptions
from gateway.stores.retention import Retention
from gateway.stores.sealing import sealer_of
from gateway.stores.shipper import Chances
from gateway.stores.store_url import BadStoreUrl, StoreUrl, parse_store_url
from gateway.succession import Succession
from gateway.telemetry.log import new_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer
from gateway.tracing import tracing_of
from gateway.upstream.openai import OpenAIModel
from gateway.watching import watch
from gateway.wire.errors import error_body, error_headers, status_of

CHAT_PATH = "/v1/chat/completions"
BODY_SECONDS = 30.0
DAY_SECONDS = 86_400.0
# FastAPI has spans and logs of its own, with messages of exceptions; ours are told from facts.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


@dataclass(slots=True)
class Gateway:
    """Everything that lives as long as the process, and ends with it."""

    context: Context
    pairs: PairStore
    successions: Mapping[str, Succession]
    registry: RegistryWatch
    is_metrics_on_main_port: bool

    @property
    def models(self) -> Sequence[OpenAIModel]:
        """The models that are asked, those included that are on their way in or out."""
        found: list[Model] = []
        for name, served in self.context.served.items():
            found += [*self.successions[name].students, served.cascade.teacher]
        return [model.chat for model in found if isinstance(model.chat, OpenAIModel)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask servers and ship pairs in the background; at the end flush, close everything."""
        observer = self.context.observer
        posts = posting(observer.ledger, self.pairs, observer.shipping_ended)
        async with self.pairs.running(), posts, self.registry.running():
            ask_servers(self.context)
            yield
            await self._end_background()
            last_spans = asyncio.create_task(self.context.tracing.close())
        await last_spans
        for model in self.models:
            model.close()

    async def _end_background(self) -> None:
        """What is only to learn from is not waited for."""
        for task in self.context.background:
            task.cancel()
        if self.context.background:
            await asyncio.wait(self.context.background)


def build_gateway(
    settings: Settings,
    cascades: Sequence[LoadedCascade],
    keys: Keys,
) -> Gateway:
    """Connect the parts.  Raises ConfigError where the state directory or Redis' URL is no use."""
    calibrated = {cascade.name: cascade.policy.is_calibrated for cascade in cascades}
    metrics = Metrics(version=version("understudy"), calibrated=calibrated)
    log = new_log(settings.log_level, on_lost=metrics.log_line_lost)
    ledger = Ledger(os.urandom(8).hex(), time.time)
    observer = Observer(metrics, log, ledger)
    pairs = _pair_store(settings, cascades, observer)
    workshop = Workshop(observer, sealer_of(settings.pairs_keys), Rents(time.monotonic))
    context = Context(
        served={cascade.name: workshop.served(cascade) for cascade in cascades},
        keys=keys,
        limits=Limits(settings.max_body_bytes, BODY_SECONDS, settings.max_open_requests),
        observer=observer,
        pairs=pairs,
        clock=time.monotonic,
        epoch=time.time,
        new_id=lambda: os.urandom(16).hex(),
        dice=random.random,
        started_at=int(time.time()),
        is_pair_due=settings.journal_when_full == "refuse",
        tracing=tracing_of(settings, cascades, metrics.registry, log),
    )
    metrics.pairs.watch(pairs.state)
    watch(context, cascades)
    metrics.ledger.watch(lambda: ledger.waiting_since)
    _warn(observer, settings, cascades)
    successions = {one.name: Succession(one, context, workshop) for one in cascades}
    return Gateway(
        context=context,
        pairs=pairs,
        successions=successions,
        registry=_registry(settings, context, successions),
        is_metrics_on_main_port=settings.is_metrics_on_main_port,
    )


def _registry(
    settings: Settings, context: Context, successions: Mapping[str, Succession]
) -> RegistryWatch:
    url = _store_url(settings)
    store = None if url is None else GenerationStore(url)
    # Unlike any before it: what a process counted stays when it is gone.
    replica = f"{socket.gethostname()}-{os.urandom(6).hex()}"
    saved = SavedGenerations(settings.state_dir)
    return RegistryWatch(context, successions, store, saved, replica)


def _pair_store(
    settings: Settings, cascades: Sequence[LoadedCascade], observer: Observer
) -> PairStore:
    retention = {one.name: _retention(one.config.pairs) for one in cascades}
    options = PairStoreOptions(
        state_dir=settings.state_dir,
        journal=JournalOptions(settings.journal_max_bytes, settings.journal_fsync_seconds),
        keep_seconds=settings.journal_keep_seconds,
        url=_store_url(settings),
        retention=retention,
    )
    chances = Chances(time.monotonic, time.time, random.random)
    try:
        return PairStore(options, observer, chances, new_name=lambda: os.urandom(8).hex())
    except OSError as error:
        raise ConfigError(
            f"{spelled('state_dir')}: {settings.state_dir} cannot hold the "
            f"journal: {error.strerror}: name a directory that can be written"
        ) from None


def _store_url(settings: Settings) -> StoreUrl | None:
    if settings.redis_url is None:
        return None
    try:
        return parse_store_url(settings.redis_url.get_secret_value())
    except BadStoreUrl as error:
        raise ConfigError(f"{spelled('redis_url')}: {error}") from None


def _retention(config: PairsConfig) -> Retention:
    days = config.max_age_days
    return Retention(None if days is None else days * DAY_SECONDS, config.max_bytes)


def _warn(observer: Observer, settings: Settings, cascades: Sequence[LoadedCascade]) -> None:
    """Say at every start what an operator should not have to find out later."""
    for cascade in cascades:
        if not cascade.policy.is_calibrated:
            observer.log.warning(
                "uncalibrated",
                cascade=cascade.name,
                threshold=cascade.policy.threshold.value,
                message="no policy: confidence orders drafts, it is no probability",
            )
        for doubt in doubts_about(cascade):
            observer.log.warning("doubtful_setting", cascade=cascade.name, message=doubt)
        for role, model in (
            ("student", cascade.config.student),
            ("teacher", cascade.config.teacher),
        ):
            if model.price is None:
                observer.log.warning("no_price", cascade=cascade.name, role=role)
    for variable in unknown_variables():
        observer.log.warning("unknown_setting", variable=variable)
    volume = shutil.disk_usage(settings.state_dir).total
    if settings.journal_max_bytes > volume:
        observer.log.warning(
            "doubtful_setting",
            message=f"{spelled('journal_max_bytes')}: {settings.journal_max_bytes} bytes, and the "
            f"volume of the state directory has {volume}: choose less than that",
        )
    if settings.redis_url is None:
        observer.log.warning(
            "no_store", message="no UNDERSTUDY_REDIS_URL: pairs stay in the journal"
        )
    if settings.ops_port is None and not settings.is_loopback:
        observer.log.warning("no_metrics", message="set UNDERSTUDY_OPS_PORT to serve /metrics")


class _Front:
    """Hands the hot route what is its own, past the application's middleware and routing.

    They cost more than a tenth of a request, and the route catches its own errors.  A request that
    the end of the drain cuts is counted here: to the server it would be a bug with a traceback.
    """

    def __init__(self, context: Context, app: ASGIApp, path: str, route: ASGIApp) -> None:
        self._context = context
        self._app = app
        self._path = path
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_hot = scope["type"] == "http" and scope["path"] == self._path
        app = self._route if is_hot and scope["method"] == "POST" else self._app
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if not self._context.is_draining:
                raise
            self._context.cut_requests += 1


def create_app(gateway: Gateway) -> ASGIApp:
    """The API.  Its lifespan is the gateway's."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.running():
            yield

    app = _bare_app(gateway, lifespan)
    context = gateway.context
    chat = ChatCompletions(context)
    app.router.routes.append(Route(CHAT_PATH, chat, methods=["POST"]))
    app.add_route("/v1/models", Models(context).__call__, methods=["GET"])
    if gateway.is_metrics_on_main_port:
        app.add_route("/metrics", MetricsPage(context).__call__, methods=["GET"])
    return _Front(context, app, CHAT_PATH, chat)


def create_ops_app(gateway: Gateway) -> FastAPI:
    """What operators and Prometheus ask, on a port of its own.  It has no lifespan to manage."""
    app = _bare_app(gateway, None)
    app.add_route("/metrics", MetricsPage(gateway.context).__call__, methods=["GET"])
    return app


def _bare_app(gateway: Gateway, lifespan: Callable[[FastAPI], object] | None) -> FastAPI:
    app = FastAPI(
        title="Understudy",
        telemetry=NO_TELEMETRY,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,  # type: ignore[arg-type]
    )
    app.add_route("/health", health, methods=["GET"])
    app.add_route("/readyz", Readiness(gateway.context).__call__, methods=["GET"])
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(Exception, _on_bug)
    return app


def _error_response(error: GatewayError) -> Response:
    return Response(error_body(error), status_of(error), error_headers(error))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        where = f"{request.method} is not allowed on {request.url.path}."
        response = _error_response(MethodNotAllowed(where))
        response.headers.update(error.headers or {})
        return response
    return _error_response(NotFound(f"There is no route {request.url.path}."))


async def _on_gateway_error(_: Request, error: Exception) -> Response:
    return _error_response(error if isinstance(error, GatewayError) else InternalError("?"))


async def _on_bug(_: Request, __: Exception) -> Response:
    return _error_response(InternalError("Internal error."))
