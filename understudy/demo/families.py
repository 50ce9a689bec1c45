"""The demo's kinds of task: how a question is drawn, its one right answer, and what counts as it.

Each family is a small clerk's job that a 135M model gets partly right when it is shown examples;
``PRODUCT`` alone is one that it cannot learn.
A family solves a question from its words alone; it never sees which question was drawn.
"""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
ITEMS = (
    "apples", "pencils", "lamps", "mugs", "chairs", "tiles", "books", "ropes", "candles",
    "towels", "shirts", "bottles", "knives", "plates", "brushes", "boxes", "blankets",
)  # fmt: skip
GIVEN_NAMES = (
    "Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Iris", "Jack", "Karen",
    "Leo", "Maria", "Nina", "Oscar", "Paula", "Rosa", "Simon", "Tina", "Victor",
)  # fmt: skip
FAMILY_NAMES = (
    "Smith", "Jones", "Miller", "Brown", "Wilson", "Moore", "Taylor", "Clark", "Lewis", "Young",
    "Walker", "Hall", "Allen", "King", "Wright", "Scott", "Baker", "Adams",
)  # fmt: skip
UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS = (
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of task.

    ``draw`` makes the words of a question, without ``instruction``.  ``solve`` returns the one
    right answer to such words, or None where they are not a question of this family.  ``accepts``
    is told that answer and a model's text.  ``max_tokens`` leaves the longest right answer room.
    """

    name: str
    instruction: str
    examples: tuple[str, ...]
    max_tokens: int
    draw: Callable[[random.Random], str]
    solve: Callable[[str], str | None]
    accepts: Callable[[str, str], bool]


def tidied(text: str) -> str:
    """``text`` without what never changes an answer: outer space, quotes, one closing full stop."""
    bare = text.strip().strip("`\"'").strip()
    return bare.removesuffix(".").rstrip()


def accepts_words(expected: str, text: str) -> bool:
    """Whether ``text`` says ``expected``, whatever its case and its spacing."""
    return " ".join(tidied(text).casefold().split()) == " ".join(expected.casefold().split())


def accepts_order(expected: str, text: str) -> bool:
    """Whether ``text`` is the JSON object ``expected``: same keys, values and types, any layout."""
    try:
        given = json.loads(text)
    except ValueError:
        return False
    return json.dumps(given, sort_keys=True) == json.dumps(json.loads(expected), sort_keys=True)


def draw_date(rng: random.Random) -> str:
    """A day between 1950 and 2030, such as "5 March 2021"."""
    return f"{rng.randint(1, 28)} {rng.choice(MONTHS)} {rng.randint(1950, 2030)}"


def solve_date(words: str) -> str | None:
    """The same day as YYYY-MM-DD; None where there is no such day."""
    found = re.fullmatch(r"([0-9]{1,2}) ([A-Z][a-z]+) ([0-9]{4})", words)
    if found is None or found[2] not in MONTHS:
        return None
    try:
        return date(int(found[3]), MONTHS.index(found[2]) + 1, int(found[1])).isoformat()
    except ValueError:
        return None


def draw_order(rng: random.Random) -> str:
    """An order line, such as "3 chairs at 40 dollars each"."""
    return f"{rng.randint(2, 60)} {rng.choice(ITEMS)} at {rng.randint(2, 90)} dollars each"


def solve_order(words: str) -> str | None:
    """The order line as a JSON object of item, quantity and price."""
    found = re.fullmatch(r"([1-9][0-9]{0,5}) ([a-z]+) at ([1-9][0-9]{0,5}) dollars each", words)
    if found is None:
        return None
    return json.dumps({"item": found[2], "quantity": int(found[1]), "price": int(found[3])})


def number_in_words(number: int) -> str:
    """``number`` from 0 to 999 in British English: "three hundred and seven"."""
    if number < len(UNITS):
        return UNITS[number]
    if number < 100:
        tens, unit = divmod(number, 10)
        return TENS[tens - 2] + (f"-{UNITS[unit]}" if unit else "")
    hundreds, rest = divmod(number, 100)
    return f"{UNITS[hundreds]} hundred" + (f" and {number_in_words(rest)}" if rest else "")


def draw_number(rng: random.Random) -> str:
    """A number from 11 to 599 in words."""
    return number_in_words(rng.randint(11, 599))


def solve_number(words: str) -> str | None:
    """The number, up to 999, in digits."""
    tens, units = "|".join(TENS), "|".join(UNITS)
    below_hundred = rf"(?:(?P<tens>{tens})(?:-(?P<unit>{units}))?|(?P<small>{units}))"
    found = re.fullmatch(rf"(?:(?P<hundreds>{units}) hundred(?: and )?)?{below_hundred}?", words)
    if found is None:
        return None
    number = 0
    if found["hundreds"]:
        number += 100 * UNITS.index(found["hundreds"])
    if found["tens"]:
        number += 10 * (TENS.index(found["tens"]) + 2)
    for units_name in ("unit", "small"):
        number += UNITS.index(found[units_name]) if found[units_name] else 0
    # Only the one way to write it counts: "nine and", "zero hundred" and "ten hundred" do not.
    return str(number) if number < 1000 and number_in_words(number) == words else None


def draw_name(rng: random.Random) -> str:
    """A given name and a family name."""
    return f"{rng.choice(GIVEN_NAMES)} {rng.choice(FAMILY_NAMES)}"


def solve_name(words: str) -> str | None:
    """The family name, a comma, the given name."""
    found = re.fullmatch(r"([A-Z][a-z]+) ([A-Z][a-z]+)", words)
    return f"{found[2]}, {found[1]}" if found else None


def draw_product(rng: random.Random) -> str:
    """Two four-digit numbers, such as "4821 times 3977"."""
    return f"{rng.randint(1000, 9999)} times {rng.randint(1000, 9999)}"


def solve_product(words: str) -> str | None:
    """Their product."""
    found = re.fullmatch(r"([1-9][0-9]{0,5}) times ([1-9][0-9]{0,5})", words)
    return str(int(found[1]) * int(found[2])) if found else None


FAMILIES = (
    Family(
        name="date",
        instruction="Rewrite as YYYY-MM-DD: ",
        examples=("5 March 2021", "17 October 1998", "30 June 1965"),
        max_tokens=16,
        draw=draw_date,
        solve=solve_date,
        accepts=accepts_words,
    ),
    Family(
        name="order",
        instruction="Order to JSON: ",
        examples=("3 chairs at 40 dollars each", "12 mugs at 7 dollars each"),
        max_tokens=40,
        draw=draw_order,
        solve=solve_order,
        accepts=accepts_order,
    ),
    Family(
        name="number",
        instruction="In digits: ",
        examples=("forty-two", "three hundred and seven", "one hundred and sixty-five"),
        max_tokens=8,
        draw=draw_number,
        solve=solve_number,
        accepts=accepts_words,
    ),
    Family(
        name="name",
        instruction="Last name first: ",
        examples=("John Doe", "Mary Green", "Peter Black"),
        max_tokens=12,
        draw=draw_name,
        solve=solve_name,
        accepts=accepts_words,
    ),
)

PRODUCT = Family(
    name="product",
    instruction="Multiply: ",
    examples=(),
    max_tokens=12,
    draw=draw_product,
    solve=solve_product,
    accepts=accepts_words,
)
