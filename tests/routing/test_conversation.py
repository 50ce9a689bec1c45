import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.conversation import (
    ID_BYTES,
    MOST_TOKENS,
    MOST_TURNS,
    NO_PAST,
    NOTHING_SAID,
    Naming,
    Past,
    Talk,
    Transcript,
    Turn,
    Whose,
    id_of_name,
)
from routing.money import Price
from routing.vocabulary import Role

OURS = Whose("assistant", "team")
KEPT, ESCALATED, NOT_JUDGED = Turn(True, False), Turn(False, True), Turn(None, False)
DENIED = Turn(False, False)
PRICE = Price(input=600_000, cached_input=60_000, output=2_400_000, reasoning=2_400_000)
TEXTS = st.text(max_size=20)


# --- ids ---


def test_ids_differ_by_cascade_tenant_kind_and_name() -> None:
    whose = [OURS, Whose("assistant", "other"), Whose("assistant"), Whose("coder", "team")]
    ids = {
        id_of_name(one, naming, name)
        for one in whose
        for naming in (Naming.SESSION, Naming.CACHE_KEY)
        for name in (b"", b"a", b"b")
    }
    assert len(ids) == len(whose) * 2 * 3
    assert {len(each) for each in ids} == {ID_BYTES}


def test_ids_are_the_same_in_every_process() -> None:
    assert id_of_name(OURS, Naming.SESSION, b"a").hex() == "78371762113525a3493cb8739fa9c2e7"


@given(st.sampled_from(["", "a", "ab"]), st.sampled_from(["", "b", "team"]), TEXTS, TEXTS)
def test_no_tenant_can_take_the_name_of_another_ones_conversation(
    tenant: str, other: str, name: str, its: str
) -> None:
    ours = id_of_name(Whose("c", tenant), Naming.SESSION, name.encode())
    theirs = id_of_name(Whose("c", other), Naming.SESSION, its.encode())
    assert (ours == theirs) is ((tenant, name) == (other, its))


# --- words ---

SYSTEM, HI, MORE = b'{"role":"system","content":"S"}', b'{"role":"user","content":"hi"}', b'{"x":1}'
ANSWER = b'{"role":"assistant","content":"Hello!"}'


def transcript(*messages: bytes, whose: Whose = OURS) -> Transcript:
    made = Transcript(whose)
    made.say(messages)
    return made


def test_next_turn_finds_what_the_last_one_left() -> None:
    left = transcript(SYSTEM, HI).answered("Hello!", [])
    following = transcript(SYSTEM, HI)
    assert following.answered(" Hello!\n", []) == left  # blanks around it say nothing
    following.say([ANSWER, MORE])
    assert following.digest == transcript(SYSTEM, HI, ANSWER, MORE).digest


def test_words_of_others_and_other_words_are_others() -> None:
    ours = transcript(SYSTEM, HI)
    different = [
        ours.digest,
        ours.answered("", []),
        ours.answered("Hello!", []),
        ours.answered("Hello!", ["look"]),
        ours.answered("Hello!", ["look", "look"]),
        ours.answered("Hello!look", []),
        transcript(HI).answered("Hello!", []),
        transcript(SYSTEM, HI, whose=Whose("assistant", "other")).answered("Hello!", []),
        transcript(SYSTEM, HI, whose=Whose("coder", "team")).answered("Hello!", []),
        id_of_name(OURS, Naming.SESSION, SYSTEM + HI),
    ]
    assert len(set(different)) == len(different)


# --- what turns come to ---


def told(*turns: Turn, sticky_turns: int = 2) -> Talk:
    talk = NOTHING_SAID
    for turn in turns:
        talk = talk.after(turn, sticky_turns)
    return talk


@pytest.mark.parametrize(
    ("turns", "past"),
    [
        ([], NO_PAST),
        ([NOT_JUDGED], NO_PAST),
        ([KEPT], Past(False, 2 / 3)),
        ([DENIED], Past(False, 1 / 3)),  # it was not granted, and nothing sticks to the student
        ([ESCALATED], Past(True, 1 / 3)),
        ([ESCALATED, NOT_JUDGED], Past(True, 1 / 3)),
        ([ESCALATED, NOT_JUDGED, NOT_JUDGED], Past(False, 1 / 3)),
        ([ESCALATED, NOT_JUDGED, NOT_JUDGED, KEPT], Past(False, 2 / 4)),
        ([KEPT, ESCALATED], Past(True, 2 / 4)),
        ([ESCALATED, ESCALATED, NOT_JUDGED], Past(True, 1 / 4)),  # the later one counts anew
        ([Turn(None, True)], Past(True, None)),  # nobody judged what the student cannot do
    ],
)
def test_past_is_what_earlier_turns_came_to(turns: list[Turn], past: Past) -> None:
    assert told(*turns).past == past


def test_nothing_sticks_unless_the_operator_wants_it() -> None:
    assert not told(ESCALATED, sticky_turns=0).past.is_sticky


@given(st.lists(st.sampled_from([KEPT, ESCALATED, NOT_JUDGED, DENIED]), max_size=12))
def test_sticky_turns_are_those_that_follow_an_escalation(turns: list[Turn]) -> None:
    talk = told(*turns, sticky_turns=3)
    since = itertools.takewhile(lambda turn: not turn.is_escalated, reversed(turns))
    assert talk.past.is_sticky is (ESCALATED in turns and len(list(since)) < 3)
    assert talk.turns == len(turns)
    assert 0 <= talk.deferred <= talk.judged <= talk.turns
    assert talk.past.kept is None or 0.0 < talk.past.kept < 1.0


def test_counts_stop_where_the_store_has_no_room_for_more() -> None:
    full = Talk(MOST_TURNS, MOST_TURNS, 5, 0, 1, 1).after(Turn(False, True, 2**40, 2**40), 1)
    assert (full.turns, full.judged, full.deferred) == (MOST_TURNS, MOST_TURNS, 5)
    assert (full.student_read, full.teacher_read) == (MOST_TOKENS, MOST_TOKENS)


# --- what a turn costs ---


def test_a_model_has_read_what_it_last_read() -> None:
    talk = told(Turn(True, False, 120), Turn(False, True, 250, 300), Turn(True, False, 400))
    assert (talk.warm_tokens(Role.STUDENT), talk.warm_tokens(Role.TEACHER)) == (400, 300)


def test_a_switch_of_models_reads_the_conversation_once_more() -> None:
    """The example of docs/conversations.md."""
    stayed, switched = told(Turn(None, False, None, 4000)), told(Turn(True, False, 4000))
    assert stayed.cost(Role.TEACHER, 4200, 300, PRICE) == 1_080_000_000
    assert switched.cost(Role.TEACHER, 4200, 300, PRICE) == 3_240_000_000
    assert switched.cost(Role.TEACHER, 4200, 300, None) is None


TOKENS = st.integers(min_value=0, max_value=10**6)


@given(TOKENS, TOKENS, TOKENS, st.sampled_from(Role))
def test_nothing_warm_makes_a_turn_dearer_and_no_more_is_warm_than_it_reads(
    warm: int, read: int, written: int, role: Role
) -> None:
    cold = NOTHING_SAID.cost(role, read, written, PRICE)
    known = Talk(student_read=warm, teacher_read=warm).cost(role, read, written, PRICE)
    assert cold is not None
    assert known is not None
    assert cold - known == min(warm, read) * (PRICE.input - PRICE.cached_input)


@given(TOKENS, TOKENS, TOKENS, TOKENS, st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_more_a_model_has_read_the_less_a_turn_costs_down_to_what_it_writes(
    some: int, more: int, read: int, written: int, cached: int, dearer: int
) -> None:
    price = Price(cached + dearer, cached, 3, 3)
    costs = [
        Talk(teacher_read=warm).cost(Role.TEACHER, read, written, price)
        for warm in (some + more, some, 0)
    ]
    least, middle, cold = (cost for cost in costs if cost is not None)
    assert 3 * written <= least <= middle <= cold == (cached + dearer) * read + 3 * written
