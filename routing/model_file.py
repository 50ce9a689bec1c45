"""Learnt functions and calibrations in a policy file: read, refused, written."""

from collections.abc import Mapping, Sequence

from routing.calibration import Calibration, Logistic, PiecewiseLinear, Uncalibrated
from routing.document import LARGEST, count, flag, items, mapping, named, number, numbers
from routing.errors import CalibrationError, PolicyError
from routing.labels import label_of
from routing.model import (
    LABEL_PREFIX,
    LEAF,
    PROMPT_MERIT,
    Average,
    Learnt,
    Linear,
    Model,
    Score,
    Tree,
    Trees,
    is_signal,
    largest,
)
from routing.prompt import PromptModel, Surface, Terms, is_group
from routing.signals import SIGNAL_NAMES

MAX_FEATURES = 4096
MAX_TREES = 4096
MAX_NODES = 4096
MAX_MODELS = 16
MAX_BUCKETS = 2**24
# What no honest fit comes near; beyond it sums of thousands of terms could leave the floats.
MAX_SIZE = 1e9
MIN_SCALE = 1e-9

_KNOWN = SIGNAL_NAMES | {PROMPT_MERIT}
_TREE_ARRAYS = ("feature", "threshold", "left", "right", "missing_left", "value")
_SCALES = {"probability": False, "log_odds": True}


def read_score(document: object, path: str) -> Score:
    """The plain weighted sum of signals, all of which must be there."""
    fields = mapping(document, path, frozenset({"signals", "weights", "intercept"}))
    listed = fields["signals"]
    if not isinstance(listed, list) or not listed:
        raise PolicyError(f"{path}.signals: must be a list of names, not empty, got {listed!r}")
    names = []
    for place, name in enumerate(listed):
        if not isinstance(name, str) or name not in SIGNAL_NAMES:
            raise PolicyError(
                f"{path}.signals[{place}]: {name!r} is not one of {sorted(SIGNAL_NAMES)}"
            )
        names.append(name)
    if len(set(names)) != len(names):
        raise PolicyError(f"{path}.signals: a name stands there twice")
    weights = _as_many(fields["weights"], f"{path}.weights", len(names))
    score = Score(tuple(names), weights, number(fields["intercept"], f"{path}.intercept"))
    # No signal exceeds 1, so this bounds every score; an infinite one has no confidence.
    if largest(score) > LARGEST:
        raise PolicyError(
            f"{path}.weights: with the intercept they add up to more than floats reach"
        )
    return score


def read_learnt(document: object, path: str) -> Learnt:
    """A learnt function of any kind."""
    kind = document.get("kind") if isinstance(document, Mapping) else None
    if kind != "average":
        return _read_part(document, path)
    fields = mapping(document, path, frozenset({"kind", "models"}))
    parts = items(fields["models"], f"{path}.models", MAX_MODELS)
    if not parts:
        raise PolicyError(f"{path}.models: must not be empty")
    read = [_read_part(part, f"{path}.models[{place}]") for place, part in enumerate(parts)]
    # Their sum is halved, or cut in more parts, only after it was added up.
    if sum(map(largest, read)) > LARGEST:
        raise PolicyError(f"{path}: can add up to more than floats reach")
    return Average(tuple(read))


def _read_part(document: object, path: str) -> Linear | Trees:
    if not isinstance(document, Mapping):
        raise PolicyError(f"{path}: must be an object, got {document!r}")
    match document.get("kind"):
        case "linear":
            model: Linear | Trees = _read_linear(document, path)
        case "trees":
            model = _read_trees(document, path)
        case kind:
            raise PolicyError(
                f"{path}.kind: must be 'linear', 'trees' or, outermost, 'average', got {kind!r}"
            )
    if largest(model) > LARGEST:
        raise PolicyError(f"{path}: can add up to more than floats reach")
    return model


def _read_linear(document: Mapping[str, object], path: str) -> Linear:
    keys = frozenset({"kind", "features", "weights", "defaults", "intercept", "scale"})
    fields = mapping(document, path, keys)
    names = _features(fields["features"], f"{path}.features")
    scale = fields["scale"]
    if not isinstance(scale, str) or scale not in _SCALES:
        raise PolicyError(f"{path}.scale: must be one of {sorted(_SCALES)}, got {scale!r}")
    return Linear(
        names=names,
        weights=_as_many(fields["weights"], f"{path}.weights", len(names)),
        defaults=_as_many(fields["defaults"], f"{path}.defaults", len(names)),
        intercept=number(fields["intercept"], f"{path}.intercept"),
        is_logit=_SCALES[scale],
    )


def _read_trees(document: Mapping[str, object], path: str) -> Trees:
    fields = mapping(document, path, frozenset({"kind", "features", "base", "trees"}))
    names = _features(fields["features"], f"{path}.features")
    listed = items(fields["trees"], f"{path}.trees", MAX_TREES)
    if not listed:
        raise PolicyError(f"{path}.trees: must not be empty")
    return Trees(
        names=names,
        trees=tuple(
            _read_tree(tree, f"{path}.trees[{place}]", len(names))
            for place, tree in enumerate(listed)
        ),
        base=number(fields["base"], f"{path}.base"),
    )


def _read_tree(document: object, path: str, features: int) -> Tree:
    fields = mapping(document, path, frozenset(_TREE_ARRAYS))
    wholes = {
        name: [
            count(value, f"{path}.{name}[{place}]", least=least)
            for place, value in enumerate(items(fields[name], f"{path}.{name}", MAX_NODES))
        ]
        for name, least in (("feature", 0), ("left", LEAF), ("right", LEAF))
    }
    for place, feature in enumerate(wholes["feature"]):
        if feature >= features:
            raise PolicyError(f"{path}.feature[{place}]: there are {features} features only")
    missing = items(fields["missing_left"], f"{path}.missing_left", MAX_NODES)
    try:
        return Tree(
            feature=tuple(wholes["feature"]),
            threshold=numbers(fields["threshold"], f"{path}.threshold"),
            left=tuple(wholes["left"]),
            right=tuple(wholes["right"]),
            missing_left=tuple(
                flag(each, f"{path}.missing_left[{place}]") for place, each in enumerate(missing)
            ),
            value=numbers(fields["value"], f"{path}.value"),
        )
    except PolicyError as error:
        if str(error).startswith(path):
            raise
        raise PolicyError(f"{path}: {error}") from None


def _features(document: object, path: str) -> tuple[str, ...]:
    names: list[str] = []
    for place, name in enumerate(items(document, path, MAX_FEATURES)):
        if not isinstance(name, str) or (is_signal(name) and name not in _KNOWN):
            raise PolicyError(
                f"{path}[{place}]: {name!r} is no label=…, no group=… and not one of "
                f"{sorted(_KNOWN)}"
            )
        label = name.removeprefix(LABEL_PREFIX)
        if label != name and label_of(label) != label:
            raise PolicyError(f"{path}[{place}]: write the label as {label_of(label)!r}")
        names.append(name)
    if not names:
        raise PolicyError(f"{path}: must not be empty")
    if len(set(names)) != len(names):
        raise PolicyError(f"{path}: a name stands there twice")
    return tuple(names)


def _as_many(values: object, path: str, wanted: int) -> tuple[float, ...]:
    found = numbers(values, path)
    if len(found) != wanted:
        raise PolicyError(f"{path}: {wanted} signals need as many, got {len(found)}")
    return found


def model_document(model: Model) -> dict[str, object]:
    """What ``read_score`` and ``read_learnt`` read."""
    if isinstance(model, Score):
        return {
            "signals": list(model.signals),
            "weights": list(model.weights),
            "intercept": model.intercept,
        }
    if isinstance(model, Average):
        return {"kind": "average", "models": [model_document(each) for each in model.models]}
    if isinstance(model, Trees):
        trees = [{name: list(getattr(tree, name)) for name in _TREE_ARRAYS} for tree in model.trees]
        named_so = {"kind": "trees", "features": list(model.names)}
        return {**named_so, "base": model.base, "trees": trees}
    return {
        "kind": "linear",
        "features": list(model.names),
        "weights": list(model.weights),
        "defaults": list(model.defaults),
        "intercept": model.intercept,
        "scale": "log_odds" if model.is_logit else "probability",
    }


# --- calibrations ---


def read_calibration(document: object, path: str) -> Calibration:
    """A map from score to confidence."""
    if not isinstance(document, Mapping):
        raise PolicyError(f"{path}: must be an object, got {document!r}")
    try:
        return _read_map(document, path)
    except CalibrationError as error:  # it names the key within the calibration
        raise CalibrationError(path + str(error).removeprefix("calibration")) from None


def _read_map(document: Mapping[str, object], path: str) -> Calibration:
    match document.get("kind"):
        case "logistic":
            fields = mapping(document, path, frozenset({"kind", "slope", "intercept"}))
            return Logistic(
                slope=number(fields["slope"], f"{path}.slope"),
                intercept=number(fields["intercept"], f"{path}.intercept"),
            )
        case "piecewise_linear":
            fields = mapping(document, path, frozenset({"kind", "scores", "confidences"}))
            return PiecewiseLinear(
                scores=numbers(fields["scores"], f"{path}.scores"),
                confidences=numbers(fields["confidences"], f"{path}.confidences"),
            )
        case "uncalibrated":
            mapping(document, path, frozenset({"kind"}))
            return Uncalibrated()
        case kind:
            raise PolicyError(
                f"{path}.kind: must be 'logistic', 'piecewise_linear' or 'uncalibrated', "
                f"got {kind!r}"
            )


def calibration_document(calibration: Calibration) -> dict[str, object]:
    """What ``read_calibration`` reads."""
    if isinstance(calibration, Logistic):
        shape = {"slope": calibration.slope, "intercept": calibration.intercept}
        return {"kind": "logistic", **shape}
    if isinstance(calibration, PiecewiseLinear):
        points = {"scores": calibration.scores, "confidences": calibration.confidences}
        return {"kind": "piecewise_linear", **{name: list(each) for name, each in points.items()}}
    return {"kind": "uncalibrated"}


# --- what the prompt alone tells ---


def read_prompt_model(document: object, path: str) -> PromptModel:
    """A function of the prompt."""
    keys = frozenset({"terms", "surface", "groups", "intercept"})
    fields = mapping(document, path, keys)
    groups = named(fields["groups"], f"{path}.groups")
    for group in groups:
        check_group(group, f"{path}.groups")
    return PromptModel(
        terms=_read_terms(fields["terms"], f"{path}.terms"),
        surface=_read_surface(fields["surface"], f"{path}.surface"),
        groups={
            group: number(weight, f"{path}.groups.{group}", MAX_SIZE)
            for group, weight in groups.items()
        },
        intercept=number(fields["intercept"], f"{path}.intercept", MAX_SIZE),
    )


def check_group(name: str, path: str) -> None:
    """Refuse what no request can name."""
    if not is_group(name):
        raise PolicyError(f"{path}: {name!r} can be no group's name: 1 to 64 of A-Za-z0-9_.:-")


def _read_terms(document: object, path: str) -> Terms:
    fields = mapping(document, path, frozenset({"buckets", "places", "idf", "weights"}))
    buckets = count(fields["buckets"], f"{path}.buckets", most=MAX_BUCKETS)
    places = tuple(
        count(each, f"{path}.places[{place}]", least=0, most=buckets - 1)
        for place, each in enumerate(items(fields["places"], f"{path}.places"))
    )
    if len(set(places)) != len(places):
        raise PolicyError(f"{path}.places: a place stands there twice")
    idf = numbers(fields["idf"], f"{path}.idf", MAX_SIZE)
    weights = numbers(fields["weights"], f"{path}.weights", MAX_SIZE)
    if not len(places) == len(idf) == len(weights):
        raise PolicyError(f"{path}: places, idf and weights must have the same length")
    return Terms(buckets, places, idf, weights)


def _read_surface(document: object, path: str) -> Surface | None:
    if document is None:
        return None
    names = ("means", "scales", "weights")
    fields = mapping(document, path, frozenset(names))
    means, scales, weights = (numbers(fields[name], f"{path}.{name}", MAX_SIZE) for name in names)
    if any(scale < MIN_SCALE for scale in scales):
        raise PolicyError(f"{path}.scales: must be at least {MIN_SCALE:g}")
    try:
        return Surface(means, scales, weights)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from None


def prompt_model_document(model: PromptModel) -> dict[str, object]:
    """What ``read_prompt_model`` reads."""
    terms, surface = model.terms, model.surface
    listed: dict[str, Sequence[float]] = {
        "places": terms.places, "idf": terms.idf, "weights": terms.weights,
    }  # fmt: skip
    return {
        "terms": {"buckets": terms.buckets, **{name: list(each) for name, each in listed.items()}},
        "surface": surface
        and {
            "means": list(surface.means),
            "scales": list(surface.scales),
            "weights": list(surface.weights),
        },
        "groups": dict(model.groups),
        "intercept": model.intercept,
    }
