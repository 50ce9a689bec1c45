"""When a draft is one of a few labels that a policy knows by name."""

from collections.abc import Iterable, Iterator

# A longer answer is no label: nothing is spent on reading it.
MAX_LABEL_CHARACTERS = 200

_AROUND = " .,;:!?\"'`*_()[]"


def label_of(text: str) -> str:
    """The text as labels are compared: case, blanks and marks around it make no difference.

    Empty where the text is too long for a label.
    """
    if len(text) > MAX_LABEL_CHARACTERS:
        return ""
    found = " ".join(text.casefold().split()).strip(_AROUND)
    return found if len(found) <= MAX_LABEL_CHARACTERS else ""


def one_hot(prefix: str, known: Iterable[str], value: str) -> Iterator[tuple[str, float]]:
    """A feature for each known name: 1 for the one that ``value`` is, else 0."""
    for name in known:
        yield prefix + name, 1.0 if name == value else 0.0
