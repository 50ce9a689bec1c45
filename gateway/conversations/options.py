"""The section ``conversation`` of a cascade."""

from typing import Annotated

from pydantic import Field, Strict

from gateway.sections import Section
from routing.conversation import MOST_STICKY_TURNS


class ConversationConfig(Section):
    """How turns of one conversation belong together.

    ``sticky_turns``: how many turns after an escalation stay with the teacher.  ``idle_seconds``:
    how long after its last turn a conversation is remembered.
    """

    sticky_turns: Annotated[int, Strict(), Field(ge=0, le=MOST_STICKY_TURNS)] = 0
    idle_seconds: Annotated[float, Strict(), Field(gt=0, le=86_400)] = 3600.0
