import pytest

from routing.sampling import (
    SAMPLING_NAMES,
    Sampling,
    effective_sampling,
    is_greedy,
    samples_of,
)


@pytest.mark.parametrize(
    ("said", "effective"),
    [
        ({}, {}),
        ({"temperature": 0.7, "top_p": 0.9}, {"temperature": 0.7, "top_p": 0.9}),
        # What a server does without them is not known, so that 1 is not the same as nothing.
        ({"temperature": 1, "top_p": 1}, {"temperature": 1, "top_p": 1}),
        ({"temperature": None, "top_p": None}, {}),
        ({"presence_penalty": 0, "frequency_penalty": 0.0, "logit_bias": {}}, {}),
        ({"repetition_penalty": 1.0}, {"repetition_penalty": 1.0}),
        ({"presence_penalty": 0.5}, {"presence_penalty": 0.5}),
        ({"logit_bias": {"50256": -100}}, {"logit_bias": {"50256": -100}}),
        # Greedily decoded, nothing is left to chance; a penalty still changes what is likeliest.
        ({"temperature": 0, "top_p": 0.9, "top_k": 5, "min_p": 0.1}, {"temperature": 0}),
        ({"temperature": 0.0, "frequency_penalty": 1}, {"temperature": 0, "frequency_penalty": 1}),
        ({"max_tokens": 7, "seed": 3, "stop": "x"}, {}),
    ],
)
def test_parameters_that_make_no_difference_are_left_out(
    said: Sampling, effective: Sampling
) -> None:
    assert effective_sampling(said) == effective
    assert effective_sampling(effective) == effective
    assert effective.keys() <= SAMPLING_NAMES


@pytest.mark.parametrize(
    ("said", "greedy"),
    [
        ({}, False),
        ({"temperature": None}, False),
        ({"temperature": 0}, True),
        ({"temperature": 0.0, "top_p": 0.9}, True),
        ({"temperature": 9e-6}, True),
        ({"temperature": 1e-5}, False),
        ({"temperature": "0"}, False),
        ({"top_k": 1}, True),
        ({"top_k": 2, "temperature": 0.7}, False),
    ],
)
def test_several_drafts_are_asked_for_where_they_can_differ(said: Sampling, greedy: bool) -> None:
    assert is_greedy(said) is greedy
    assert samples_of(3, 1, said) == (1 if greedy else 3)
    assert samples_of(1, 1, said) == 1


def test_client_who_wants_several_answers_gets_them_as_they_are() -> None:
    assert samples_of(3, 2, {}) == 1
