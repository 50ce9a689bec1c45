"""What a server's words may not tell a client, and what they may."""

import time

import pytest

from gateway.upstream.discretion import Discretion

KEY = "sk-very-secret/+="
CLUSTER = Discretion("http://student:8000/v1", KEY)
VENDOR = Discretion("https://llm.example.org/team-a/deployments/x/v1/", KEY)
SIXTH = Discretion("http://[fd00::7]:8000/v1", None)


@pytest.mark.parametrize(
    ("discretion", "said", "told"),
    [
        (CLUSTER, f"Bearer {KEY} is no key", "Bearer *** is no key"),
        (CLUSTER, "key sk-very-secret%2F%2B%3D", "key ***"),
        (CLUSTER, "POST http://student:8000/v1/chat/completions failed", "POST *** failed"),
        (CLUSTER, "at student:8000. At http://student:8000/v1/.", "at ***. At ***."),
        (CLUSTER, "(http://STUDENT/v1)", "(***)"),
        (CLUSTER, "bound to 10.42.0.17:8000, sorry", "bound to ***, sorry"),
        (CLUSTER, "http://192.168.1.4/x and 172.20.0.3", "*** and ***"),
        (VENDOR, "see https://llm.example.org/docs", "see ***"),
        (VENDOR, "LLM.example.org:443 says no", "*** says no"),
        (VENDOR, "no route /team-a/deployments/x/v1/chat/completions", "no route ***"),
        (SIXTH, "at [fd00::7]:8000 or fd00::7", "at *** or ***"),
    ],
)
def test_addresses_and_keys_are_hidden(discretion: Discretion, said: str, told: str) -> None:
    assert discretion.hide(said) == told


@pytest.mark.parametrize(
    "said",
    [
        "student is not a multimodal model",
        "The model `student` does not exist.",
        "students: 8000 of them",
        "version 0.32.0 at /v1/chat/completions, not 8.8.8.8",
        "could not fetch https://example.com/cat.png",
        "max_tokens=100000 cannot be greater than max_model_len=2048.",
        "1.10.2.3.4 is no address, nor is 310.1.2.3",
    ],
)
def test_other_words_stay(said: str) -> None:
    assert CLUSTER.hide(said) == said


def test_a_key_that_is_hardly_one_spoils_no_words() -> None:
    assert Discretion("http://h:1/v1", "no").hide("no, not now") == "no, not now"


def test_long_words_take_no_long_time() -> None:
    said = "a" * 10_000 + " " + "http://student/" + ":" * 10_000
    began = time.process_time()
    CLUSTER.hide(said)
    assert time.process_time() - began < 0.1
