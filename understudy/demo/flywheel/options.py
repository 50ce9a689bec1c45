"""What the command line asks of the flywheel.  Importing it costs nothing."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FlywheelOptions:
    """What the command line asks for.

    ``requests`` is the traffic of a generation before the next one is trained, ``steps`` how long
    that is; ``calibration`` and ``held_out`` are questions.  ``threads`` are those of a student.
    ``page`` is None where none is to be written; ``command`` is how all of this was said.
    """

    generations: int
    requests: int
    steps: int
    calibration: int
    held_out: int
    target: str
    seed: int
    state_dir: Path
    threads: int
    page: Path | None
    command: str
