"""The section `stored` of a cascade: whether clients may have completions stored, and how long."""

from typing import Annotated

from pydantic import Field, Strict

from gateway.sections import Section


class StoredConfig(Section):
    """Whether completions are stored for the clients that ask for it, and for how long.

    ``max_bytes`` holds for all tenants of the cascade together.
    """

    enabled: Annotated[bool, Strict()] = False
    max_age_days: Annotated[float, Strict(), Field(gt=0, le=36_500)] = 30.0
    max_bytes: Annotated[int, Strict(), Field(ge=2**20)] = 2**30
