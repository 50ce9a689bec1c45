import pytest

from bench import scores
from bench.scores import TOKENS, TREES, time_score


def test_what_is_measured_is_a_long_draft_and_two_ensembles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scores, "ROUNDS", 3)
    monkeypatch.setattr(scores, "CALLS_A_ROUND", 2)
    found = time_score()
    assert (found.tokens, found.trees) == (TOKENS, 2 * TREES) == (256, 120)
    assert 0 < found.judged_us_least <= found.judged_us
    assert found.signals_us > 0
    assert found.rule_us > 0
