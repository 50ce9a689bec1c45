"""What it takes to make a pair of an escalation: in clear, redacted, sealed.  No server.

`python -m bench.pair_records`.  The request has 2,000 characters, draft and answer 256 tokens each,
the draft's with log-probabilities, two candidates a token.
"""

import json
import time
from collections.abc import Callable, Mapping

from gateway.legs import Legs
from gateway.pairs import Pair, Provenance, Rescue, Source, content_of, pair_record
from gateway.redaction import find_redactor
from gateway.safekeeping import Safekeeping
from gateway.stores.sealing import Sealer
from gateway.wire.chat import Chat, parse_chat
from routing.cascade import Defer
from routing.vocabulary import Reason

TOKENS = 256
ROUNDS = 30
CALLS_A_ROUND = 20
KEY = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
_WORDS = "The invoice of 12 May went to jane.doe@example.com and was paid by card in two parts. "


def ways() -> Mapping[str, Safekeeping]:
    """What may be done to the content."""
    pii, sealer = find_redactor("pii"), Sealer([KEY])
    return {
        "in clear": Safekeeping(),
        "redacted (pii)": Safekeeping(redactor=pii),
        "sealed": Safekeeping(sealer=sealer),
        "redacted and sealed": Safekeeping(pii, sealer),
    }


def microseconds(rounds: int = ROUNDS, calls: int = CALLS_A_ROUND) -> dict[str, float]:
    """Processor time a pair, the median of the rounds' means, by what is done to its content."""
    chat, rescue = _request(), Rescue(_completion(2), True, _completion(0), Reason.LOW_CONFIDENCE)
    legs = Legs(time.monotonic)
    legs.verdict = Defer(Reason.LOW_CONFIDENCE, has_draft=True)

    def writer(keeping: Safekeeping) -> Callable[[], bytes]:
        def write() -> bytes:
            kept = keeping.keep(content_of(chat, rescue))
            return pair_record(Pair(_PROVENANCE, rescue, kept), chat, legs)

        return write

    return {name: _median(writer(keeping), rounds, calls) for name, keeping in ways().items()}


_PROVENANCE = Provenance(
    source=Source("a", "student-1", "teacher", "teacher-1", teacher_outputs_may_train=True),
    policy_version="uncalibrated",
    id="0" * 32,
    time=0.0,
    request_id="r",
    tenant=None,
    tenant_may_train=True,
)


def _request() -> Chat:
    content = (_WORDS * 30)[:2000]
    body = {"model": "a", "messages": [{"role": "user", "content": content}]}
    return parse_chat(json.dumps(body).encode())


def _completion(candidates: int) -> bytes:
    words = (_WORDS.split() * TOKENS)[:TOKENS]
    tops = [{"token": "x", "logprob": -1.0, "bytes": [120]}] * candidates
    entries = [
        {"token": word, "logprob": -0.1, "bytes": list(word.encode()), "top_logprobs": tops}
        for word in words
    ]
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": " ".join(words)},
        "logprobs": {"content": entries} if candidates else None,
        "finish_reason": "stop",
    }
    return json.dumps({"id": "c", "object": "chat.completion", "choices": [choice]}).encode()


def _median(call: Callable[[], bytes], rounds: int, calls: int) -> float:
    means = []
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(calls):
            call()
        means.append((time.process_time() - started) / calls * 1e6)
    return sorted(means)[len(means) // 2]


def main() -> None:
    """Measure, and print a table."""
    size = len(_request().body) + len(_completion(2)) + len(_completion(0))
    print(f"content of {size} bytes; CPU µs a pair, median of {ROUNDS} rounds")
    for name, each in microseconds().items():
        print(f"{name:<20} {each:8.1f}")


if __name__ == "__main__":
    main()
