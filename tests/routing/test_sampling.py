import pytest

from routing.sampling import SAMPLING_NAMES, Sampling, effective_sampling


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
