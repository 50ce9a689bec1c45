from dataclasses import is_dataclass

import pytest

import routing

# A name that leaves this list breaks someone's import.
PUBLIC_NAMES = [
    "DEFAULT_ABORT_BELOW",
    "DEFAULT_CHECKPOINTS",
    "DEFAULT_THRESHOLD",
    "EDGE_CHARACTERS",
    "EVIDENCE_NAMES",
    "FAILURES_TO_OPEN",
    "GROUP_PREFIX",
    "LABEL_PREFIX",
    "LEAF",
    "LOGIT_EDGE",
    "NOTHING_KNOWN",
    "NOTHING_USED",
    "PICO_PER_USD",
    "PROMPT_MERIT",
    "REST_SECONDS",
    "SAMPLING_NAMES",
    "SCHEMA_VERSION",
    "SIGNAL_NAMES",
    "SURFACE_NAMES",
    "UNCALIBRATED_VERSION",
    "AskStudent",
    "AskTeacher",
    "Average",
    "Basis",
    "Breaker",
    "Calibration",
    "CalibrationError",
    "Checkpoint",
    "Confidence",
    "Defer",
    "Degraded",
    "Denied",
    "Doubt",
    "Draft",
    "Features",
    "Gate",
    "Grant",
    "Granted",
    "Hold",
    "Keep",
    "Kind",
    "Learnt",
    "Linear",
    "Logistic",
    "Merit",
    "Model",
    "Need",
    "NoDraft",
    "Opinion",
    "Origin",
    "Outcome",
    "PiecewiseLinear",
    "Policy",
    "PolicyError",
    "Price",
    "Prompt",
    "PromptModel",
    "PromptRule",
    "Prospect",
    "Reason",
    "Refuse",
    "Release",
    "Role",
    "Rule",
    "Sampling",
    "Score",
    "ServeDraft",
    "Signals",
    "StreamedRules",
    "Structure",
    "Surface",
    "Target",
    "Terms",
    "Threshold",
    "Token",
    "Tree",
    "Trees",
    "Uncalibrated",
    "Usage",
    "Verdict",
    "WhenDenied",
    "barred",
    "cost_of",
    "defer",
    "effective_sampling",
    "hashed_terms",
    "is_group",
    "label_of",
    "logit",
    "origin_from_document",
    "pico_per_token",
    "plan",
    "policy_document",
    "policy_from_document",
    "prompt_features",
    "prompt_of",
    "settle",
    "signals_of",
    "total_of",
    "uncalibrated_default",
    "uncalibrated_streamed",
    "usd",
]


def house_order(name: str) -> tuple[bool, bool, str]:
    """Constants, classes, functions, each by name."""
    return not name.isupper(), not name[0].isupper(), name


def test_exactly_these_names_are_public() -> None:
    assert routing.__all__ == PUBLIC_NAMES


def test_public_names_are_sorted_and_stand_there_once() -> None:
    assert sorted(set(routing.__all__), key=house_order) == routing.__all__


def test_every_public_name_can_be_imported() -> None:
    missing = [name for name in PUBLIC_NAMES if not hasattr(routing, name)]
    assert not missing


@pytest.mark.parametrize("name", PUBLIC_NAMES)
def test_every_value_is_frozen_and_only_the_breaker_and_the_gate_have_state(name: str) -> None:
    value = getattr(routing, name)
    if isinstance(value, type) and is_dataclass(value):
        assert vars(value)["__dataclass_params__"].frozen is (name != "Breaker")
        assert "__slots__" in vars(value)
