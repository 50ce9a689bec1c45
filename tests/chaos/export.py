"""What a training job would be given: the pairs, by the export that users run."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as parquet


def exported_request_ids(url: str, folder: Path) -> list[str]:
    """The request of each pair in a data set of all pairs, in any order."""
    options = ["--redis-url", url, "--format", "parquet", "--deduplicate", "id", "--holdout", "0"]
    command = [sys.executable, "-m", "understudy", "pairs", "export", str(folder), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    table = parquet.read_table(folder / "dataset" / "pairs-train.parquet", columns=["request_id"])
    return [str(each) for each in table.column("request_id").to_pylist()]
