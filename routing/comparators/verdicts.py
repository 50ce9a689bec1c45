"""Reads how sure a judge is of its verdict, one of a few words, from the token that it begins with.

Only which of the words the reply begins with counts, so no text that a judge was shown can add one.
"""

import math
from collections.abc import Sequence

from routing.comparators.asking import NoScore
from routing.comparators.replies import at, finite

VERDICT_CANDIDATES = 5
VERDICT_TOKENS = 8
# Below this share of the probability on the words, the judge was about to say something else.
LEAST_ON_VERDICTS = 0.1


def verdict_shares(document: object, words: Sequence[str]) -> tuple[float, ...] | NoScore:
    """The probability of each word, of that which all have together; they add up to 1.

    ``words`` are in lower case and begin with different letters.  By the word alone it is 1 and 0,
    where the server tells no probabilities.
    """
    tokens = at(document, "choices", 0, "logprobs", "content")
    for token in tokens if isinstance(tokens, list) else ():
        if not _letters(at(token, "token")):
            continue  # a blank, a line break or a quote before the verdict
        shares = _shares_at(token, words)
        if shares is not None:
            return shares
        break
    said = _letters(at(document, "choices", 0, "message", "content"))
    for word in words:
        if said.startswith(word):
            return tuple(float(word == each) for each in words)
    return NoScore(f"the judge began with no verdict, but with {said[:40]!r}")


def _shares_at(token: object, words: Sequence[str]) -> tuple[float, ...] | None:
    """By the candidates of the verdict's first token; None where it is no verdict."""
    found = [0.0] * len(words)
    candidates = at(token, "top_logprobs")
    for candidate in candidates if isinstance(candidates, list) and candidates else [token]:
        letters, logprob = _letters(at(candidate, "token")), finite(at(candidate, "logprob"))
        if not letters or logprob is None or logprob > 1.0:
            continue
        probability = math.exp(min(logprob, 0.0))
        for place, word in enumerate(words):
            found[place] += probability * _begins(letters, word)
    on_verdicts = math.fsum(found)
    if on_verdicts < LEAST_ON_VERDICTS:
        return None
    return tuple(share / on_verdicts for share in found)


def _begins(letters: str, word: str) -> bool:
    """Whether a token may be the beginning of the word, or is all of it."""
    return word.startswith(letters) or letters.startswith(word)


def _letters(text: object) -> str:
    """A text without case and without what is no letter at its head and tail."""
    return text.casefold().strip(" \t\r\n\"'`*_.:#>\u2581\u0120") if isinstance(text, str) else ""
