"""Comparators: what decides whether two answers differ materially.  They ask nobody themselves.

Which of them holds is said per cascade.  ``normalised`` is the form of a short text in which all of
them compare words.
"""

from routing.comparators.asking import (
    Ask,
    Asked,
    Comparator,
    NoScore,
    Question,
    Request,
    Score,
)
from routing.comparators.embeddings import similar_embedding
from routing.comparators.judge import judged_by_teacher
from routing.comparators.labels import label_in, same_label
from routing.comparators.numbers import Closeness, number_in, same_number
from routing.comparators.structured import same_json
from routing.comparators.texts import exact_text, normalised, normalised_text, unified

__all__ = [
    "Ask",
    "Asked",
    "Closeness",
    "Comparator",
    "NoScore",
    "Question",
    "Request",
    "Score",
    "exact_text",
    "judged_by_teacher",
    "label_in",
    "normalised",
    "normalised_text",
    "number_in",
    "same_json",
    "same_label",
    "same_number",
    "similar_embedding",
    "unified",
]
