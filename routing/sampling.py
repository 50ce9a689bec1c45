"""How drafts are drawn, and how many of them: a promise holds for those drawn the same way."""

from collections.abc import Mapping

# A number each, but for ``logit_bias``, an object.  What is absent is the server's default.
SAMPLING_NAMES = frozenset(
    {"temperature", "top_p", "top_k", "min_p", "typical_p", "presence_penalty"}
    | {"frequency_penalty", "repetition_penalty", "logit_bias"}
)

Sampling = Mapping[str, object]

# All of them are paid, and compared two by two while the client waits: that grows with the square.
MAX_SAMPLES = 8
# Below this vLLM takes the likeliest token, and then refuses to write several drafts.
_GREEDY_BELOW = 1e-5

# Their absence means 0, or nothing, to every server; other parameters have defaults of the model's.
_NEUTRAL: Mapping[str, object] = {"presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}}
# Where the likeliest token is taken, it is the same however many others there could have been.
_OF_CHANCE = frozenset({"temperature", "top_p", "top_k", "min_p", "typical_p"})


def effective_sampling(said: Sampling) -> Sampling:
    """What is left of the parameters of a request: those that make a difference.

    None is as good as absent, and so is a penalty of 0; at temperature 0 nothing is drawn, so that
    top-p and its like do not count.
    """
    found = {
        name: value
        for name, value in said.items()
        if name in SAMPLING_NAMES and value is not None and value != _NEUTRAL.get(name)
    }
    if found.get("temperature") == 0:
        found = {name: value for name, value in found.items() if name not in _OF_CHANCE}
        found["temperature"] = 0
    return found


def is_greedy(said: Sampling) -> bool:
    """Whether the likeliest token is always taken, so that several drafts would be one."""
    temperature = said.get("temperature")
    is_cold = isinstance(temperature, int | float) and temperature < _GREEDY_BELOW
    return is_cold or said.get("top_k") == 1


def samples_of(wanted: int, choices: int, said: Sampling) -> int:
    """How many drafts of one answer are asked for where a cascade wants so many.

    One where the client wants several answers itself, of which none can speak for another, and
    where all drafts would be the same.
    """
    return 1 if choices > 1 or is_greedy(said) else wanted
