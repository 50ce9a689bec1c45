"""Drafts as servers tell of them: at each place the token, and a row of candidates."""

from collections.abc import Sequence

from routing.vocabulary import Draft


def from_rows(tokens: Sequence[float], rows: Sequence[Sequence[float]]) -> Draft:
    """A draft with what is read of these rows: the two likeliest candidates."""
    return Draft(
        token_logprobs=tuple(tokens),
        best_logprobs=tuple(row[0] for row in rows if row),
        second_logprobs=tuple(row[1] for row in rows if len(row) > 1),
    )
