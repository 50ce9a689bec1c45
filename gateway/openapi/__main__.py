"""``python -m gateway.openapi``: write the document, or say whether it is what the code makes."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gateway.openapi.document import as_text

OUT = Path(__file__).parents[2] / "docs/openapi.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check as told by the arguments; the exit status."""
    parser = argparse.ArgumentParser(prog="openapi", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it differs")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="where it is")
    options = parser.parse_args(arguments)
    text = as_text()
    if not options.check:
        options.out.write_text(text, encoding="utf-8")
    elif not options.out.is_file() or options.out.read_text(encoding="utf-8") != text:
        sys.stderr.write(f"{options.out} is not what the code makes: run ./dev openapi\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
