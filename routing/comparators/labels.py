"""Which label of a closed set an answer gives."""

import re
from collections.abc import Iterator, Mapping, Sequence

from routing.comparators.asking import DIFFERENT, SAME, Comparator, Plain, Question
from routing.comparators.texts import normalised, same_words, unified

_BOXED = re.compile(r"\\boxed\{(?:\\text\{)?([^{}]*)\}")
# A letter of this kind at the head of a sentence is an article, a conjunction or a pronoun.
_WORDS_OF_ONE_LETTER = frozenset("AIOEYaioey")
_SENTENCE_ENDS = ".!?:;\n"
# From here on a character may be a word of its own; so may it in the scripts of south-east Asia.
_FIRST_WITHOUT_BLANKS = "\u2e80"
_ALSO_WITHOUT_BLANKS = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"))


def same_label(labels: Sequence[str]) -> Comparator:
    """Same are answers that give the same label of ``labels``, which differ once normalised.

    An option's text stands for its label: where a question has choices, the first of them goes with
    the first label.  Where neither answer gives a label the normalised texts are compared; where
    one does, they differ.
    """

    def measure(question: Question, left: str, right: str) -> float:
        found, other = (label_in(text, labels, question.choices) for text in (left, right))
        if found is None and other is None:
            return same_words(question, left, right)
        return SAME if found == other else DIFFERENT

    return Plain(f"label-1({','.join(labels)})", measure)


def label_in(text: str, labels: Sequence[str], choices: Sequence[str] = ()) -> str | None:
    """The one label that an answer gives; None where it gives none, or several.

    The first of these that holds decides: the whole text, what is in a ``\\boxed{}``, the last line
    or the first is a label; the text begins with a label and a mark, as in "B) Joy" and "Yes,
    because"; just one label is mentioned.  A label that the text denies ("not spam") is mentioned
    all the same: comparators like this one are for short answers.
    """
    names = _names(labels, choices)
    for part in _whole_parts(text):
        if (label := names.get(normalised(part))) is not None:
            return label
    plain = unified(text)
    for name, label in sorted(names.items(), key=lambda item: -len(item[0])):
        if _is_head(plain, name, label):
            return label
    mentioned = set(_mentioned(text, names))
    return mentioned.pop() if len(mentioned) == 1 else None


def _names(labels: Sequence[str], choices: Sequence[str]) -> Mapping[str, str]:
    """What stands for each label, normalised.  An option's text does where no other is the same."""
    texts = [normalised(choice) for choice in choices]
    names = {
        text: label
        for text, label in zip(texts, labels, strict=False)
        if text and texts.count(text) == 1
    }
    return names | {normalised(label): label for label in labels}


def _whole_parts(text: str) -> Iterator[str]:
    yield text
    yield from _BOXED.findall(text)[-1:]
    lines = text.strip().splitlines()
    yield from lines[-1:]
    yield from lines[:1]


def _is_head(text: str, name: str, label: str) -> bool:
    """Whether the text begins with the label and a mark that sets it off from what follows."""
    if len(name) == 1:
        letter = re.escape(label.strip())
        return re.match(rf"[(\[*_\"']*{letter}[*_\"']*[)\].:](?!\w)", text) is not None
    folded = text.casefold().lstrip("(['\"*_")
    return (
        folded.startswith(name)
        and re.match(r"[*_\"')\]]*[.,:;!)\-]", folded[len(name) :]) is not None
    )


def _mentioned(text: str, names: Mapping[str, str]) -> Iterator[str]:
    """The labels that stand somewhere in the text as words of their own, as often as they do."""
    plain = "\n".join(map(unified, text.splitlines()))
    long = sorted((name for name in names if len(name) > 1), key=len, reverse=True)
    if long:
        pattern = "|".join(map(_as_words, long))
        for found in re.finditer(pattern, plain.casefold()):
            yield names[found[0]]
    for name, label in names.items():
        if len(name) == 1 and _has_letter(plain, label.strip()):
            yield label


def _as_words(name: str) -> str:
    """A pattern for the name where no letter or digit goes on before or after it."""
    before = "" if _needs_no_blank(name[0]) else r"(?<!\w)(?<!\d[.,])"
    after = "" if _needs_no_blank(name[-1]) else r"(?!\w)(?![.,]\d)"
    return before + re.escape(name) + after


def _needs_no_blank(character: str) -> bool:
    return character >= _FIRST_WITHOUT_BLANKS or any(
        first <= character <= last for first, last in _ALSO_WITHOUT_BLANKS
    )


def _has_letter(text: str, letter: str) -> bool:
    """Whether a label of one character stands there, in its own case, and is no little word."""
    for found in re.finditer(_as_words(letter), text):
        before, after = text[: found.start()].rstrip(" "), text[found.end() :]
        is_first = not before or before[-1] in _SENTENCE_ENDS
        goes_on = re.match(r" [^\W\d_]", after) is not None
        is_word = letter in _WORDS_OF_ONE_LETTER and goes_on and (is_first or letter == "I")
        if not is_word:
            return True
    return False
