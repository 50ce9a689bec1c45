"""The composition root: builds the gateway from its configuration and connects the parts."""

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.api.admin import Admin
from gateway.api.answering import Answering
from gateway.api.context import Context, Limits
from gateway.api.count_tokens import CountTokens
from gateway.api.models import Models
from gateway.api.openapi import OpenApiDocument
from gateway.api.ops import MetricsPage, Readiness, health
from gateway.api.outside import ErrorForms
from gateway.api.passing import PassThrough
from gateway.api.request_ids import WithRequestId
from gateway.api.stored import StoredRoutes
from gateway.api.wires import ANTHROPIC, MESSAGES_PATH, WIRES
from gateway.audits.catching_up import CatchingUp
from gateway.building import Workshop, build_limiter
from gateway.cascades import LoadedCascade, PairsConfig
from gateway.config_file import ConfigError
from gateway.conversations.sharing import TurnSharing
from gateway.ids import fresh_ids
from gateway.key_entries import doubts_about_keys
from gateway.key_sources import Places, sources_at
from gateway.key_watch import KeyWatch
from gateway.keys import Keys
from gateway.lag import LagWatch
from gateway.ledger import Ledger, posting
from gateway.legs import Model
from gateway.named_models import LoadedModel
from gateway.ports import PassedTo
from gateway.registry import RegistryWatch
from gateway.renting import Rents
from gateway.rooms import RoomWatch
from gateway.settings import Settings, spelled
from gateway.startup import ask_servers
from gateway.steering.building import load_watch, steer
from gateway.steering.link import Link
from gateway.steering.load import LoadWatch
from gateway.steering.loop import SteeringLoop
from gateway.steering.ordering import Ordering
from gateway.steering.steered import World
from gateway.stored_config import StoredConfig
from gateway.stored_reading import StoredReader, stored_reader
from gateway.stores.generation_store import GenerationStore, SavedGenerations
from gateway.stores.journal import JournalOptions
from gateway.stores.objective_store import ObjectiveStore, SavedObjectives
from gateway.stores.pair_store import PairStore, PairStoreOptions
from gateway.stores.retention import Retention
from gateway.stores.sealing import sealer_of
from gateway.stores.shipper import Chances
from gateway.stores.store_url import BadStoreUrl, StoreUrl, parse_store_url
from gateway.stores.turn_store import TurnStore
from gateway.succession import Succession
from gateway.telemetry.log import new_log
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.observer import Observer
from gateway.telemetry.steering_news import SteeringNews
from gateway.tracing import tracing_of
from gateway.upstream.openai import OpenAIModel
from gateway.upstream.pool import ServerPool
from gateway.warning import warn_at_start
from gateway.watching import watch
from gateway.wire.passing import PATHS

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
    steering: SteeringLoop
    loads: LoadWatch
    ordering: Ordering
    stored: StoredReader
    keys: KeyWatch
    turns: TurnSharing
    is_metrics_on_main_port: bool

    @property
    def models(self) -> Sequence[OpenAIModel]:
        """The servers that are asked, those included that are on their way in or out."""
        found: list[Model] = []
        for name, served in self.context.served.items():
            found += [*self.successions[name].students, served.cascade.teacher]
        pools = [model.chat for model in found if isinstance(model.chat, ServerPool)]
        return [server for pool in pools for server in pool.servers]

    @property
    def _passed_to(self) -> Iterator[PassedTo]:
        for served in self.context.served.values():
            yield from (tokenizer.model for tokenizer in served.tokenizers.values())
        yield from (named.model for named in self.context.named.values())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ask servers and ship pairs in the background; at the end flush, close everything."""
        observer = self.context.observer
        lag = LagWatch(self.context.clock, time.thread_time, observer.metrics.loop.looked)
        async with (
            lag.running(),
            self.pairs.running(),
            posting(observer.ledger, self.pairs, observer.shipping_ended),
            observer.telling.running(),
            self.keys.running(),
            self.registry.running(),
            self.steering.running(),
            self.loads.running(),
            self.turns.running(),
            RoomWatch(self.context).running(),
            CatchingUp(self.context).running(),
            self.context.limiter.drawing.running(),
        ):
            await self.keys.wait_known()
            ask_servers(self.context)
            yield
            await self._end_background()
            self.context.aside.close()
            self.context.keeping.close()
            await self.stored.close()
            last_spans = asyncio.create_task(self.context.tracing.close())
        await last_spans
        for model in self.models:
            model.close()
        for passing in self._passed_to:
            passing.close()
        for served in self.context.served.values():
            served.audits.close()

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
    models: Sequence[LoadedModel] = (),
) -> Gateway:
    """Connect the parts.  Raises ConfigError where the state directory or Redis' URL is no use."""
    calibrated = {cascade.name: cascade.policy.is_calibrated for cascade in cascades}
    metrics = Metrics(version=version("understudy"), calibrated=calibrated)
    log = new_log(settings.log_level, on_lost=metrics.log_line_lost)
    ledger = Ledger(os.urandom(8).hex(), time.time)
    observer = Observer(metrics, log, ledger)
    pairs = _pair_store(settings, cascades, observer)
    sealer = sealer_of(settings.pairs_keys)
    workshop = Workshop(observer, sealer, Rents(time.monotonic))
    context = Context(
        served={cascade.name: workshop.served(cascade) for cascade in cascades},
        named={model.name: workshop.named(model) for model in models},
        keys=keys,
        limits=Limits(
            body_bytes=settings.max_body_bytes,
            body_members=settings.max_body_members,
            body_entries=settings.max_body_entries,
            body_seconds=BODY_SECONDS,
            open_requests=settings.max_open_requests,
        ),
        limiter=build_limiter(_store_url(settings), settings.store_down, observer),
        observer=observer,
        pairs=pairs,
        clock=time.monotonic,
        epoch=time.time,
        new_id=fresh_ids().__next__,
        dice=random.random,
        started_at=int(time.time()),
        is_pair_due=settings.journal_when_full == "refuse",
        tracing=tracing_of(settings, cascades, metrics.registry, log),
    )
    metrics.pairs.watch(pairs.state)
    watch(context, cascades)
    metrics.ledger.watch(lambda: ledger.waiting_since)
    warn_at_start(observer, settings, cascades, models)
    for doubt in doubts_about_keys(keys.tenants.values(), context.names, time.time()):
        log.warning("doubtful_setting", message=doubt)
    # Unlike any before it: what a process counted stays when it is gone.
    replica = f"{socket.gethostname()}-{os.urandom(6).hex()}"
    news = SteeringNews(log, metrics)
    links = steer(
        context, cascades, news, World(replica, time.time(), time.monotonic, random.random)
    )
    steering, ordering = _steering(settings, links, news)
    successions = {one.name: Succession(one, context, workshop) for one in cascades}
    url = _store_url(settings)
    return Gateway(
        context=context,
        pairs=pairs,
        successions=successions,
        registry=_registry(settings, context, successions, replica),
        steering=steering,
        loads=load_watch(context, cascades, links, news),
        ordering=ordering,
        stored=stored_reader(_store_url(settings), sealer, observer.stored_unavailable),
        keys=_key_watch(settings, context),
        turns=TurnSharing(context, None if url is None else TurnStore(url, replica)),
        is_metrics_on_main_port=settings.is_metrics_on_main_port,
    )


def _registry(
    settings: Settings, context: Context, successions: Mapping[str, Succession], replica: str
) -> RegistryWatch:
    url = _store_url(settings)
    store = None if url is None else GenerationStore(url)
    saved = SavedGenerations(settings.state_dir)
    return RegistryWatch(context, successions, store, saved, replica)


def _steering(
    settings: Settings, links: Mapping[str, Link], news: SteeringNews
) -> tuple[SteeringLoop, Ordering]:
    url = _store_url(settings)
    store = None if url is None else ObjectiveStore(url)
    saved = SavedObjectives(settings.state_dir)
    return (
        SteeringLoop(links, store, saved, news, time.time),
        Ordering(links, store, saved, time.time),
    )


def _key_watch(settings: Settings, context: Context) -> KeyWatch:
    keys, observer = context.keys, context.observer
    url = _store_url(settings) if settings.keys_in_redis else None
    places = Places(settings.keys_file, url, settings.state_dir)
    return KeyWatch(keys, sources_at(places, keys, observer, context.epoch), observer)


def _pair_store(
    settings: Settings, cascades: Sequence[LoadedCascade], observer: Observer
) -> PairStore:
    retention = {one.name: _retention(one.config.pairs) for one in cascades}
    completions = {  # what was stored expires also where nothing more is stored
        one.name: _retention(one.config.stored)
        for one in cascades
        if "stored" in one.config.model_fields_set
    }
    options = PairStoreOptions(
        state_dir=settings.state_dir,
        journal=JournalOptions(settings.journal_max_bytes, settings.journal_fsync_seconds),
        keep_seconds=settings.journal_keep_seconds,
        url=_store_url(settings),
        retention=retention,
        completions=completions,
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


def _retention(config: PairsConfig | StoredConfig) -> Retention:
    days = config.max_age_days
    return Retention(None if days is None else days * DAY_SECONDS, config.max_bytes)


class _Front:
    """Hands the hot routes what is their own, past the application's middleware and routing.

    They cost more than a tenth of a request, and the routes catch their own errors.  A request that
    the end of the drain cuts is counted here: to the server it would be a bug with a traceback.
    """

    def __init__(self, context: Context, app: ASGIApp, routes: Mapping[str, ASGIApp]) -> None:
        self._context = context
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and scope["method"] == "POST":
            app = self._routes.get(scope["path"], app)
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
    routes: dict[str, ASGIApp] = {path: Answering(context, wire) for path, wire in WIRES.items()}
    routes[MESSAGES_PATH] = WithRequestId(routes[MESSAGES_PATH])
    counting = CountTokens(context, ANTHROPIC)
    routes[f"{MESSAGES_PATH}/count_tokens"] = WithRequestId(counting)
    routes |= {path: PassThrough(context, passed) for path, passed in PATHS.items()}
    for path, route in routes.items():  # for the other methods, which it refuses
        app.router.routes.append(Route(path, route, methods=["POST"]))
    app.router.routes.extend(StoredRoutes(context, gateway.stored).routes())
    models = Models(context)
    app.add_route("/openapi.json", OpenApiDocument().__call__, methods=["GET"])
    app.add_route("/v1/models", models.every, methods=["GET"])
    app.add_route("/v1/models/{model:path}", models.one, methods=["GET"])
    if gateway.is_metrics_on_main_port:
        app.add_route("/metrics", _metrics_page(context).__call__, methods=["GET"])
        app.router.routes.extend(Admin(context, gateway.ordering).routes())
    return _Front(context, app, routes)


def create_ops_app(gateway: Gateway) -> FastAPI:
    """What operators and Prometheus ask, on a port of its own.  It has no lifespan to manage."""
    app = _bare_app(gateway, None)
    app.add_route("/metrics", _metrics_page(gateway.context).__call__, methods=["GET"])
    app.router.routes.extend(Admin(gateway.context, gateway.ordering).routes())
    return app


def _metrics_page(context: Context) -> MetricsPage:
    return MetricsPage(context.observer.page, context.clock)


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
    ErrorForms(gateway.context.new_id).serve(app)
    return app
