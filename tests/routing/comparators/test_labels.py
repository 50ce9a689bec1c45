import pytest

from routing.comparators import Comparator, Question, Score, label_in, same_label

DIRECTIONS = ("up", "down", "none", "neutral")
LETTERS = ("A", "B", "C", "D")
FEELINGS = ("Sadness", "Joy", "Anger", "Fear")


def is_same(comparator: Comparator, question: Question, left: str, right: str) -> bool:
    score = comparator.begin(question, left, right)
    assert isinstance(score, Score)
    return score.is_same(comparator.at_least)


@pytest.mark.parametrize(
    ("text", "labels", "label"),
    [
        ("Up.", DIRECTIONS, "up"),
        ("The price went UP", DIRECTIONS, "up"),
        ("update the downtown list", DIRECTIONS, None),
        ("up or down", DIRECTIONS, None),
        ("It rose, not fell.\nup", DIRECTIONS, "up"),
        ("up\nThough some say down.", DIRECTIONS, "up"),
        (r"down? no: \boxed{\text{up}}", DIRECTIONS, "up"),
        ("**neutral**: nothing moved up", DIRECTIONS, "neutral"),
        ("", DIRECTIONS, None),
        ("Yes, because no one else did", ("yes", "no"), "yes"),
        ("yes-man", ("yes", "no"), "yes"),
        ("not toxic", ("toxic", "not toxic"), "not toxic"),
        ("It is non-toxic", ("toxic", "non-toxic"), "non-toxic"),
        # Numbers are no part of other numbers.
        ("3", ("1", "2", "3"), "3"),
        ("3.5", ("3", "5"), None),
        ("13 or so", ("1", "3"), None),
        # Other languages, with and without blanks between words.
        ("是的\uff0c答案是正面", ("正面", "负面"), "正面"),
        ("不正确", ("正确", "不正确"), "不正确"),
        ("คำตอบคือบวก", ("บวก", "ลบ"), "บวก"),
        ("Stimmung: „NEGATIV“", ("positiv", "negativ"), "negativ"),
        ("Ответ: ДА.", ("да", "нет"), "да"),
        ("Das ist positiv-neutral", ("positiv", "neutral"), None),
    ],
)
def test_the_label_of_an_answer(text: str, labels: tuple[str, ...], label: str | None) -> None:
    assert label_in(text, labels) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(b).", "B"),
        ("B) Joy", "B"),
        ("**B.** Joy", "B"),
        ("B. Joy, not A. Sadness", "B"),
        ("Joy", "B"),
        ("The text expresses joy.", "B"),
        ("The answer is B.", "B"),
        ("The answer is A because of the tone", "A"),
        ("A text full of tears. The answer is D", "D"),
        ("A text full of tears", None),
        ("Let us think.\nC", "C"),
        ("B or C", None),
        ("Option B: Anger", None),
        ("cab", None),
        ("b is a letter", None),
    ],
)
def test_the_letter_of_an_option(text: str, label: str | None) -> None:
    assert label_in(text, LETTERS, FEELINGS) == label


def test_a_pronoun_is_no_label() -> None:
    labels = ("H", "I")
    assert label_in("I think it is H", labels) == "H"
    assert label_in("so I say", labels) is None
    assert label_in("it is I.", labels) == "I"


def test_two_options_of_one_text_are_told_apart_by_letter_alone() -> None:
    assert label_in("Joy", ("A", "B"), ("Joy", "joy")) is None
    assert label_in("B", ("A", "B"), ("Joy", "joy")) == "B"
    assert label_in("anything", ("A", "B"), ("", "x")) is None


def test_same_labels_are_the_same_answer() -> None:
    comparator, question = same_label(LETTERS), Question(choices=FEELINGS)
    assert is_same(comparator, question, "Joy", "B")
    assert not is_same(comparator, question, "Joy", "C")
    assert not is_same(comparator, question, "B or C", "B")
    assert is_same(comparator, question, "No idea.", "no idea")
    assert not is_same(comparator, question, "No idea.", "Cannot say")
