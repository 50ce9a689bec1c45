"""What the command line asks of the demo.  Importing it costs nothing."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

TEACHER_KEY_VARIABLE = "UNDERSTUDY_DEMO_TEACHER_KEY"


@dataclass(frozen=True, slots=True)
class Model:
    """A model behind an OpenAI-compatible server.  ``key`` is None where none is asked for."""

    base_url: str
    name: str
    key: str | None = field(default=None, repr=False)

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the command line asks for.

    ``calibration`` is how many labelled questions a policy is fitted on, 0 for none.  ``teacher``
    and ``redis_url`` are None where the demo brings its own, ``threads`` where the student chooses;
    ``port`` 0 picks a free one for the gateway.
    """

    requests: int
    calibration: int
    seed: int
    state_dir: Path
    serve: bool = False
    port: int = 0
    threads: int | None = None
    redis_url: str | None = None
    teacher: Model | None = None
    teacher_delay_ms: float = 0.0
