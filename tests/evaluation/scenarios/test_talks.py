import numpy as np
import pytest

from evaluation.scenarios.scenario import Conversations
from evaluation.scenarios.talks import MOST_OPEN, Talks

PLACES = np.arange(20_000)


def test_requests_that_stand_alone_have_no_names() -> None:
    turns = Talks(Conversations(turns=1.0)).turns(PLACES, np.random.default_rng(0))
    assert turns.names == ()
    assert (turns.places == PLACES).all()
    assert not turns.are_stuck.any()


def test_conversations_have_as_many_turns_as_asked() -> None:
    turns = Talks(Conversations(turns=4.0)).turns(PLACES, np.random.default_rng(0))
    assert len(PLACES) / len(set(turns.names)) == pytest.approx(4.0, rel=0.05)


def test_turns_are_alike_as_often_as_asked() -> None:
    told = Conversations(turns=4.0, alike=0.6)
    turns = Talks(told).turns(PLACES, np.random.default_rng(0))
    # Of four turns three go on, and of these six in ten are as the last one.
    assert (turns.places != PLACES).mean() == pytest.approx(0.75 * 0.6, abs=0.02)


def test_after_an_escalation_the_next_turns_stay() -> None:
    talks = Talks(Conversations(turns=100.0, sticky_turns=2))
    generator = np.random.default_rng(0)
    first = talks.turns(PLACES[:1], generator)
    talks.escalated(first.names)
    rest = talks.turns(PLACES[:4], generator)
    assert set(rest.names) == set(first.names)
    assert rest.are_stuck.tolist() == [True, True, False, False]


def test_the_oldest_conversations_are_over_first() -> None:
    talks = Talks(Conversations(turns=1.001, sticky_turns=1))
    names = talks.turns(PLACES[:2000], np.random.default_rng(0)).names
    talks.escalated(names)  # of those that are over too
    later = talks.turns(PLACES[:2000], np.random.default_rng(1))
    again = set(later.names) & set(names)
    assert again <= set(sorted(set(names), key=lambda name: int(name[5:]))[-MOST_OPEN:])
