"""Words by which an answer says that it is unsure of itself, or that it will not answer.

The language decides which words: it is guessed from function words, or from the script, and where
the guess is not clear nothing is said.  The lists are short: they hold what models write, in the
languages that we can read.
"""

# ruff: noqa: RUF001  (letters of other scripts that look like Latin ones are meant)
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# Enough to know the language by, and to meet a refusal: those come first.
OPENING_CHARACTERS = 200
# Hedges come anywhere; of a long answer its first and last part are read.
HEDGE_CHARACTERS = 300
MIN_FUNCTION_WORDS = 2


class _Language(NamedTuple):
    """How a language is known, and what is looked for in it.  All in lower case."""

    function_words: frozenset[str]
    hedges: tuple[str, ...]
    refusals: tuple[str, ...]


def _language(function_words: str, hedges: str, refusals: str) -> _Language:
    return _Language(
        frozenset(function_words.split()), tuple(hedges.split("|")), tuple(refusals.split("|"))
    )


_LANGUAGES: Mapping[str, _Language] = {
    "en": _language(
        "the and of to is that it with for are this not you i i'm as but be have or an can",
        "i'm not sure|i am not sure|not certain|i think|i believe|i don't know|i do not know"
        "|it's possible that|might be|may be|it depends|hard to say|i'm not aware|unclear",
        "i can't|i cannot|i'm unable|i am unable|i won't|i'm sorry|i am sorry|as an ai|i apologize",
    ),
    "de": _language(
        "der und ist nicht das ich ein eine zu mit auf für von den dem sich auch kann wird sie",
        "ich bin nicht sicher|ich bin mir nicht sicher|ich glaube|ich denke|ich weiß nicht"
        "|möglicherweise|vielleicht|vermutlich|könnte sein|schwer zu sagen",
        "ich kann nicht|ich kann das nicht|ich kann dir nicht|ich kann ihnen|es tut mir leid"
        "|tut mir leid|als ki|leider kann ich|ich darf nicht",
    ),
    "fr": _language(
        "le les et est une des pas je vous dans pour qui que sur avec ce sont n'est mais peut",
        "je ne suis pas sûr|je ne suis pas certain|je pense|je crois|je ne sais pas"
        "|peut-être|il est possible|probablement|difficile à dire",
        "je ne peux pas|je suis désolé|désolé|je ne suis pas en mesure"
        "|en tant qu'ia|en tant que modèle",
    ),
    "es": _language(
        "el los las y es una que no yo por con para se su como pero más está son del puede",
        "no estoy seguro|no estoy segura|creo que|pienso que|no lo sé|no sé|quizá"
        "|tal vez|es posible que|probablemente|podría ser|difícil de decir",
        "no puedo|lo siento|no me es posible|como modelo de|como ia|no soy capaz",
    ),
    "it": _language(
        "il gli e è una che non io per con sono del della nel anche più come questo può di",
        "non sono sicuro|non sono certo|credo che|penso che|non lo so|non so|forse"
        "|è possibile che|probabilmente|potrebbe essere|difficile dire",
        "non posso|mi dispiace|non sono in grado|come modello|come ia|spiacente",
    ),
    "pt": _language(
        "o os e é uma que não eu por com para se ao dos das como mais está são você pode",
        "não tenho certeza|acho que|acredito que|não sei|talvez|é possível que"
        "|provavelmente|pode ser que|difícil dizer",
        "não posso|não consigo|desculpe|sinto muito|lamento|como modelo de|como uma ia",
    ),
    "nl": _language(
        "de het een en niet ik van voor met dat zijn op te ook maar aan wordt deze kan je",
        "ik weet het niet|ik ben niet zeker|niet zeker|ik denk|ik geloof|misschien|mogelijk"
        "|waarschijnlijk|zou kunnen|moeilijk te zeggen",
        "ik kan niet|ik kan je niet|ik kan u niet|het spijt me|sorry|als ai|helaas kan ik",
    ),
    "ru": _language(
        "и не что это я на"
        " с как для по но"
        " из от к вы или в",
        "не уверен|не знаю"
        "|думаю|возможно"
        "|вероятно"
        "|может быть",
        "не могу|извините"
        "|к сожалению"
        "|простите",
    ),
    "zh": _language(
        "",
        "我不确定|不确定|我不知道|不知道"
        "|我认为|我想|可能|也许|或许|大概"
        "|难说|不確定",
        "我无法|我不能|抱歉|对不起|很遗憾"
        "|作为一个|作为ai|無法|對不起",
    ),
    "ja": _language(
        "",
        "わかりません|分かりません"
        "|と思います|かもしれません"
        "|おそらく|たぶん|でしょう|不明",
        "できません|申し訳|すみません"
        "|ごめんなさい|aiとして|お答えでき",
    ),
    "ko": _language(
        "",
        "모르겠|확실하지|생각합니다"
        "|아마|아마도|것 같습니다|일 수도",
        "할 수 없|죄송|미안|ai로서|도와드릴 수 없",
    ),
}  # fmt: skip

_SPOKEN_WHERE: Mapping[str, Sequence[str]] = {
    word: [name for name, spoken in _LANGUAGES.items() if word in spoken.function_words]
    for word in frozenset().union(*[spoken.function_words for spoken in _LANGUAGES.values()])
}
_FUNCTION_WORDS = frozenset(_SPOKEN_WHERE)
_KANA = re.compile("[\u3041-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7af]")
_HAN = re.compile("[\u4e00-\u9fff]")
_NOT_WORDS = str.maketrans(dict.fromkeys('.,;:!?"()[]*', " ") | {"\u2019": "'"})


class Tone(NamedTuple):
    """Whether an answer hedges, and whether it refuses."""

    is_hedged: bool
    is_refused: bool


def tone_of(text: str) -> Tone | None:
    """How the answer sounds; None where its language is not clearly one of ours."""
    opening = text[:OPENING_CHARACTERS].lower().translate(_NOT_WORDS)
    language = _language_of(opening)
    if language is None:
        return None
    spoken = _LANGUAGES[language]
    read = text
    if len(text) > 2 * HEDGE_CHARACTERS:
        read = f"{text[:HEDGE_CHARACTERS]} {text[-HEDGE_CHARACTERS:]}"
    return Tone(
        is_hedged=_says(read.lower().replace("\u2019", "'"), spoken.hedges),
        is_refused=_says(opening.replace("  ", " "), spoken.refusals),
    )


def _says(text: str, phrases: Sequence[str]) -> bool:
    for phrase in phrases:  # noqa: SIM110  # a generator costs as much as what it looks for
        if phrase in text:
            return True
    return False


def language_of(text: str) -> str | None:
    """Two letters for the language that the text begins in; None where that is not clear."""
    return _language_of(text[:OPENING_CHARACTERS].lower().translate(_NOT_WORDS))


def _language_of(opening: str) -> str | None:
    if not opening.isascii():
        if _KANA.search(opening):
            return "ja"
        if _HANGUL.search(opening):
            return "ko"
        if _HAN.search(opening):
            return "zh"
    votes: dict[str, int] = {}
    for word in _FUNCTION_WORDS.intersection(opening.split()):
        for name in _SPOKEN_WHERE[word]:
            votes[name] = votes.get(name, 0) + 1
    ranked = sorted(votes.values(), reverse=True)
    if not ranked or ranked[0] < MIN_FUNCTION_WORDS or ranked[0] in ranked[1:]:
        return None
    return max(votes, key=votes.__getitem__)
