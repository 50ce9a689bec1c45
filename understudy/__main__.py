"""The entry point.  Commands are named by import path, so that none pays for another's imports."""

import gc
import sys

from cyclopts import App

app = App(
    name="understudy",
    help="A gateway where a cheap student answers and a teacher is asked when it is unsure.",
)
app.command("understudy.serve:serve")
app.command("understudy.check:check")
app.command("understudy.doctor.command:doctor")
app.command("understudy.demo.command:demo")
app.command("understudy.demo.flywheel.command:flywheel")
app.command("understudy.record.command:record")
app.command("understudy.evaluate:evaluate")
app.command("understudy.calibrate:calibrate")
app.command("understudy.explain:explain")
app.command("understudy.simulate.command:simulate")
app.command("understudy.bill.command:bill")

pairs = App(name="pairs", help="The pair log: look at it, and make training sets of it.")
pairs.command("understudy.pairs.stats:stats")
pairs.command("understudy.pairs.tail:tail")
pairs.command("understudy.pairs.show:show")
pairs.command("understudy.pairs.export:export")
pairs.command("understudy.pairs.consolidate:consolidate")
pairs.command("understudy.pairs.records:records")
pairs.command("understudy.pairs.delete:delete")
app.command(pairs)

keys = App(name="keys", help="The clients' keys: make them, show them, take them away.")
keys.command("understudy.keys.create:create")
keys.command("understudy.keys.listing:list_keys", name="list")
keys.command("understudy.keys.revoke:revoke")
app.command(keys)

moving = App(name="import", help="Take over the configuration of another gateway.")
moving.command("understudy.moving.command:litellm")
app.command(moving)

distill = App(
    name="distill",
    help="""The next student: make it from pairs, measure it, let it in.

    In the order of the work: curate, synthesize and grade make better data, train makes the
    student, evaluate measures it, promote lets it in, rollback undoes that, and status shows who
    serves and who is tried.
    """,
)
distill.command("understudy.distill.curate:curate")
distill.command("understudy.distill.synthesize:synthesize")
distill.command("understudy.distill.grade:grade")
distill.command("understudy.distill.train:train")
distill.command("understudy.distill.evaluate:evaluate")
distill.command("understudy.distill.promote:promote")
distill.command("understudy.distill.rollback:rollback")
distill.command("understudy.distill.status:status")
app.command(distill)


# What an extra brings, and its name.
EXTRAS = {
    **dict.fromkeys(("duckdb", "fsspec", "pyarrow"), "pairs"),
    **dict.fromkeys(("matplotlib", "numpy", "scipy", "sklearn", "threadpoolctl"), "evaluate"),
    **dict.fromkeys(
        ("accelerate", "datasets", "gguf", "peft", "safetensors", "torch", "transformers", "trl"),
        "distill",
    ),
}


# Between two looks of the garbage collector; Python's own is 700.  What a command imports is kept,
# and with those looks the start of the gateway takes an eighth longer.
GC_ALLOCATIONS = 50_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(GC_ALLOCATIONS)
    try:
        sys.exit(app())
    except ImportError as error:  # cyclopts raises its own, from the one that names the module
        missing = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        extra = EXTRAS.get(missing.name or "")
        if extra is None:
            raise
        sys.exit(f"This needs {missing.name}: pip install 'understudy[{extra}]'")


if __name__ == "__main__":
    main()
