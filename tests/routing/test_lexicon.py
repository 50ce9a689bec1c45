# ruff: noqa: RUF001  (letters of other scripts that look like Latin ones are meant)
import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.lexicon import HEDGE_CHARACTERS, OPENING_CHARACTERS, Tone, language_of, tone_of

PLAIN, HEDGED, REFUSED = Tone(False, False), Tone(True, False), Tone(False, True)

SAID = [
    ("en", PLAIN, "The capital of France is Paris, and it is on the Seine."),
    ("en", HEDGED, "I’m not sure, but it might be the capital of France."),
    ("en", REFUSED, "I'm sorry, but I cannot help with that."),
    ("de", PLAIN, "Die Hauptstadt von Frankreich ist Paris und sie liegt an der Seine."),
    ("de", HEDGED, "Ich bin mir nicht sicher, aber das ist vielleicht Lyon."),
    ("de", REFUSED, "Es tut mir leid, das kann ich nicht für dich tun."),
    ("fr", PLAIN, "La capitale de la France est Paris et les quais sont sur la Seine."),
    ("fr", HEDGED, "Je ne sais pas, c'est peut-être une ville sur le Rhône."),
    ("fr", REFUSED, "Je suis désolé, je ne peux pas vous aider avec ce sujet."),
    ("es", PLAIN, "La capital del país es París y está en el Sena."),
    ("es", HEDGED, "No estoy seguro, pero creo que es una ciudad del norte."),
    ("es", REFUSED, "Lo siento, no puedo ayudar con eso y no es para mí."),
    ("it", PLAIN, "Il fiume della città è la Senna e non il Rodano."),
    ("it", HEDGED, "Non sono sicuro, ma forse il nome della città è Lione."),
    ("it", REFUSED, "Mi dispiace, non posso aiutare con questo e non lo farei."),
    ("pt", PLAIN, "A capital do país é Paris e os rios são dois."),
    ("pt", HEDGED, "Não tenho certeza, mas acho que você pode ir para Lyon."),
    ("pt", REFUSED, "Desculpe, não posso ajudar você com isso, mas com outra coisa."),
    ("nl", PLAIN, "De hoofdstad van het land is Parijs en niet Lyon."),
    ("nl", HEDGED, "Ik weet het niet zeker, misschien is het een stad met een haven."),
    ("nl", REFUSED, "Het spijt me, ik kan je niet helpen met deze vraag."),
    ("ru", PLAIN, "Это столица, и в ней не только музеи, но и река."),
    ("ru", HEDGED, "Я не уверен, но возможно это не так."),
    ("ru", REFUSED, "Извините, я не могу с этим помочь, но и это не так."),
    ("zh", PLAIN, "法国的首都是巴黎。"),
    ("zh", HEDGED, "我不确定，答案是里昂。"),
    ("zh", REFUSED, "抱歉，我无法回答这个问题。"),
    ("ja", PLAIN, "フランスの首都はパリです。"),
    ("ja", HEDGED, "おそらくリヨンだと思います。"),
    ("ja", REFUSED, "申し訳ありませんが、お手伝いはできません。"),
    ("ko", PLAIN, "프랑스의 수도는 파리입니다."),
    ("ko", HEDGED, "아마 리옹인 것 같습니다."),
    ("ko", REFUSED, "죄송하지만 도와드릴 수 없습니다."),
]


@pytest.mark.parametrize(("language", "tone", "text"), SAID)
def test_languages_that_we_read_are_told_apart_with_their_tone(
    language: str, tone: Tone, text: str
) -> None:
    assert language_of(text) == language
    assert tone_of(text) == tone


# No function word at all, too few, as many of two languages, or a language that is not ours.
@pytest.mark.parametrize(
    "text",
    [
        "",
        "Paris",
        "42",
        "B",
        "def f(x): return x",
        "the",
        "the und",
        "Stolicą Polski jest Warszawa.",
    ],
)
def test_text_whose_language_is_not_clear_has_no_tone(text: str) -> None:
    assert language_of(text) is None
    assert tone_of(text) is None


def test_refusal_is_looked_for_at_the_beginning_and_hedges_at_both_ends() -> None:
    filler = "The answer is that it is. " * 200
    assert len(filler) > 2 * HEDGE_CHARACTERS + OPENING_CHARACTERS
    assert tone_of(f"{filler} I'm sorry.") == PLAIN
    assert tone_of(f"{filler} I think.") == HEDGED
    assert tone_of(f"I think. {filler}") == HEDGED
    middle = len(filler) // 2
    assert tone_of(f"{filler[:middle]} I think. {filler[middle:]}") == PLAIN


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    tone_of(text)
    assert (tone_of(text) is None) is (language_of(text) is None)
