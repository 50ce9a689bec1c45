"""An entry comes and goes; what people wrote beside it stays to the letter."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from gateway.key_entries import KeyEntry, entries_in
from understudy.keys.editing import NotEditable, with_entry, without_entry

HASHES = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("ann", "bob", "eve")}


def entry(name: str, **said: Any) -> KeyEntry:
    return KeyEntry.model_validate({"name": name, "sha256": HASHES[name], **said})


def filled(text: str) -> str:
    for name, digest in HASHES.items():
        text = text.replace(f"<{name}>", digest)
    return text


def names(text: str) -> list[str]:
    return [each.name for each in entries_in(text.encode(), Path("keys.yaml"))]


PEOPLES = """\
# Who may ask.  Talk to us first!
keys:   # the oldest first

  # The search team, until spring.
  - name: ann   # asked by mail
    sha256: "<ann>"
    limits:
      requests_per_minute: 60   # enough

  # Batch jobs.
  -
    sha256: <bob>
    name: bob
# The end.
"""
FLOW = "keys: [{name: ann, sha256: '<ann>'}, {name: bob, sha256: '<bob>'}]  # ours\n"


def test_an_entry_is_added_behind_the_others_as_they_are_written() -> None:
    assert with_entry(filled(PEOPLES), entry("eve", models=["assistant"])) == filled(
        PEOPLES
        + """\
  - name: eve
    sha256: <eve>
    models: [assistant]
"""
    )


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("", "keys:\n  - name: eve\n    sha256: <eve>\n"),
        ("# nobody yet", "# nobody yet\nkeys:\n  - name: eve\n    sha256: <eve>\n"),
        ("keys: []  # none\n", "keys:  # none\n  - name: eve\n    sha256: <eve>\n"),
        ("keys: []", "keys:\n  - name: eve\n    sha256: <eve>\n"),
        ("{keys: []}\n", "{keys: [{name: eve, sha256: <eve>}]}\n"),
        (FLOW, FLOW.replace("'}]", "'}, {name: eve, sha256: <eve>}]")),
        (
            "keys:\n- name: ann\n  sha256: <ann>",
            "keys:\n- name: ann\n  sha256: <ann>\n- name: eve\n  sha256: <eve>\n",
        ),
    ],
)
def test_an_entry_finds_its_place_in_any_form_of_list(text: str, after: str) -> None:
    edited = with_entry(filled(text), entry("eve"))
    assert edited == filled(after)
    assert names(edited)[-1] == "eve"


def test_an_entry_goes_with_its_lines_and_no_others() -> None:
    assert without_entry(filled(PEOPLES), "ann") == filled(
        """\
# Who may ask.  Talk to us first!
keys:   # the oldest first

  # The search team, until spring.

  # Batch jobs.
  -
    sha256: <bob>
    name: bob
# The end.
"""
    )
    assert without_entry(filled(PEOPLES), "bob") == filled(
        PEOPLES.replace("  -\n    sha256: <bob>\n    name: bob\n", "")
    )


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (FLOW, "keys: [{name: bob, sha256: '<bob>'}]  # ours\n"),
        ("keys: [{name: ann, sha256: '<ann>'}]\n", "keys: []\n"),
        ("keys:  # ours\n- name: ann\n  sha256: <ann>\n# end\n", "keys: []  # ours\n# end\n"),
        ("keys:\n- name: ann\n  sha256: <ann>", "keys: []\n"),
        (
            "keys:\n- {name: ann, sha256: <ann>}\n- {name: bob, sha256: <bob>}\n",
            "keys:\n- {name: bob, sha256: <bob>}\n",
        ),
        (
            "keys:\n- name: ann\n  sha256: >-\n    <ann>\n- name: bob\n  sha256: <bob>\n",
            "keys:\n- name: bob\n  sha256: <bob>\n",
        ),
    ],
)
def test_an_entry_goes_from_any_form_of_list(text: str, after: str) -> None:
    edited = without_entry(filled(text), "ann")
    assert edited == filled(after)
    assert "ann" not in names(edited)


def test_the_last_entry_leaves_nobody_and_not_everybody() -> None:
    text = with_entry("", entry("eve"))
    assert names(without_entry(text, "eve")) == []


def test_what_comes_goes_again_without_a_trace() -> None:
    for text in (PEOPLES, FLOW):
        added = with_entry(filled(text), entry("eve", dial=[0.1, 0.9], expires="2027-01-01"))
        assert without_entry(added, "eve") == filled(text)


@pytest.mark.parametrize("text", ["keys: {}", "- a", "keys: [", "keys: []\nmore: 1"])
def test_what_is_no_list_of_keys_is_not_touched(text: str) -> None:
    with pytest.raises(NotEditable):
        with_entry(text, entry("eve"))


def test_nothing_is_taken_from_an_empty_file() -> None:
    with pytest.raises(NotEditable):
        without_entry("", "eve")
