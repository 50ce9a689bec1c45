"""``/admin/cascades``: what cascades are held to and how that stands; another objective for one."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.context import Context, Served
from gateway.api.entering import json_body, tenant_of
from gateway.api.exchange import headers_of
from gateway.errors import Forbidden, ModelNotFound, NotServed, RequestError
from gateway.keys import Tenant, may_use
from gateway.steering.link import Link
from gateway.steering.ordering import Ordering
from gateway.steering.orders import as_told, objective_of
from routing.money import PICO_PER_USD
from routing.steering import KEEP_NOTHING

PATH = "/admin/cascades"
_ONE = f"{PATH}/{{cascade}}"
# What a client says in `If-Match`: the `etag`, or its number alone.
VERSION = r'(?:W/)?"?([0-9]{1,18})"?'
MAX_ECHO = 100  # characters of the client's own words in an error message


class Admin:
    """The routes.  Who may read metrics may read them; to change something takes a key's right."""

    def __init__(self, context: Context, ordering: Ordering) -> None:
        self._context = context
        self._ordering = ordering

    def routes(self) -> list[Route]:
        """All of them."""
        objective = f"{_ONE}/objective"
        return [
            Route(PATH, self._every, methods=["GET"]),
            Route(_ONE, self._one, methods=["GET"]),
            Route(objective, self._put, methods=["PUT"]),
            Route(objective, self._delete, methods=["DELETE"]),
            Route(f"{objective}/history", self._history, methods=["GET"]),
        ]

    async def _every(self, _: Request) -> Response:
        return _reply({"cascades": [self._described(name) for name in self._context.served]})

    async def _one(self, request: Request) -> Response:
        name: str = request.path_params["cascade"]
        if name not in self._context.served:
            raise ModelNotFound(f"There is no cascade '{name[:MAX_ECHO]}'.", param="cascade")
        link = self._ordering.links.get(name)
        return _reply(self._described(name), None if link is None else link.orders.version)

    async def _put(self, request: Request) -> Response:
        tenant = tenant_of(self._context, headers_of(request.scope))
        link = self._link(request, tenant)
        body = await json_body(self._context, request.scope, request.receive)
        objective = objective_of(body)
        by = None if tenant is None else tenant.key
        order = await self._ordering.give(link.cascade, _version(request), objective, by)
        return _reply(self._described(link.cascade), order.version)

    async def _delete(self, request: Request) -> Response:
        """Hold it to its file again."""
        tenant = tenant_of(self._context, headers_of(request.scope))
        link = self._link(request, tenant)
        by = None if tenant is None else tenant.key
        order = await self._ordering.give(link.cascade, _version(request), None, by)
        return _reply(self._described(link.cascade), order.version)

    async def _history(self, request: Request) -> Response:
        link = self._link(request, None)
        return _reply({"entries": await self._ordering.history(link.cascade)})

    def _link(self, request: Request, tenant: Tenant | None) -> Link:
        """What holds the cascade of a request.  Raises Forbidden, ModelNotFound and NotServed."""
        name: str = request.path_params["cascade"]
        if tenant is not None and not tenant.may_administer:
            raise Forbidden("This key may not set objectives.")
        if name not in self._context.served or not may_use(tenant, name):
            raise ModelNotFound(f"There is no cascade '{name[:MAX_ECHO]}'.", param="cascade")
        link = self._ordering.links.get(name)
        if link is None:
            raise NotServed(
                "Nobody steers this cascade: its objective is the policy's threshold, or a "
                "confidence. Write quality, escalation_rate or spend into the gateway's "
                "configuration and start it again; from then on the objective is changed here.",
                param="cascade",
            )
        return link

    def _described(self, name: str) -> dict[str, Any]:
        served, link = self._context.served[name], self._ordering.links.get(name)
        source = served.source
        shown: dict[str, Any] = {
            "cascade": name,
            "student_version": source.student_version,
            "teacher_version": source.teacher_version,
            "policy_version": served.cascade.policy.version,
        }
        if link is None:
            return shown | {
                "objective": None,
                "threshold": _number(served.cascade.policy.threshold.value),
                "line": "the policy's threshold, or that of the file, holds",
                "missing": [],
            }
        return shown | self._steered(served, link)

    def _steered(self, served: Served, link: Link) -> dict[str, Any]:
        standing, latest, state = link.steered.standing, link.orders.latest, link.state
        aim = link.aim()
        told = None if state is None else msgspec.json.decode(state.shown)
        return {
            "objective": as_told(aim.objective),
            "is_in_force": state is not None and state.aim == aim.digest,
            "ordered": {
                "version": latest.version,
                "is_from_file": latest.objective is None,
                "by": latest.by,
                "at": latest.at or None,
            },
            "threshold": _number(standing.threshold),
            "keeps_nothing": standing.threshold == KEEP_NOTHING,
            "line": standing.line,
            "revision": standing.revision,
            "epoch": standing.epoch,
            "audit_probability": standing.audit,
            "per_usd": standing.per_usd,
            "cap_usd_per_hour": _usd(standing.cap_pico),
            "missing": _missing(told, link),
            "controller": {
                "replica": link.owner,
                "is_here": link.is_controller,
                "state_replica": None if state is None else state.replica,
                "state_since": None if state is None else state.since,
                "state_at": None if state is None else state.at,
            },
            "replica": {
                "name": link.here.replica,
                "heard_seconds_ago": max(0.0, self._context.epoch() - link.seen_at)
                if link.seen_at
                else None,
                "reports_waiting": link.waiting,
                "audits_open": served.audits.open,
                "audited_usd": _usd(link.steered.audited_pico),
                "cap_left_usd": _usd(link.steered.cap_left),
                "threshold": _number(link.steered.threshold),
                "teacher_pressure": link.steered.pressure,
                "teacher_pressed_by": link.steered.pressed_by or None,
            },
            "controller_says": told,
        }


def _version(request: Request) -> int:
    """The version that a client knows.  Raises RequestError."""
    said = re.fullmatch(VERSION, request.headers.get("if-match", "").strip())
    if said is None:
        raise RequestError(
            "Send 'If-Match' with the version that is to be replaced: the 'etag' of the cascade.",
            param="if-match",
        )
    return int(said[1])


def _missing(told: Mapping[str, Any] | None, link: Link) -> list[str]:
    """What stands between a cascade and its objective: nothing, or one thing or several."""
    missing, steered = [] if told is None else list(told["missing"]), link.steered
    if steered.is_promise and not steered.may_audit():
        missing.append(
            "money for audits: audit.usd_per_hour is spent in this replica, and a student that "
            "gets worse is not noticed meanwhile"
        )
    return missing


def _number(threshold: float) -> float | None:
    return None if threshold == KEEP_NOTHING else threshold


def _usd(pico: float | None) -> float | None:
    return None if pico is None else pico / PICO_PER_USD


def _reply(document: Mapping[str, Any], version: int | None = None) -> Response:
    headers = {"cache-control": "no-store"}
    if version is not None:
        headers["etag"] = f'"{version}"'
    body = msgspec.json.encode(document)
    return Response(body, media_type="application/json", headers=headers)
