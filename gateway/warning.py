"""What an operator should not have to find out later, said at every start."""

import shutil
from collections.abc import Sequence

from gateway.cascades import LoadedCascade, doubts_about
from gateway.named_models import LoadedModel
from gateway.settings import Settings, spelled, unknown_variables
from gateway.telemetry.observer import Observer


def warn_at_start(
    observer: Observer,
    settings: Settings,
    cascades: Sequence[LoadedCascade],
    models: Sequence[LoadedModel],
) -> None:
    """Write warnings into the log."""
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
    for named in models:
        if named.config.price is None and not all(one.is_free for one in named.config.serves):
            observer.log.warning("no_price", model=named.name)
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
