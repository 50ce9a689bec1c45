"""What a cascade's own configuration says already: prices, its policy, training, doubts."""

from datetime import date

from gateway.cascades import LoadedCascade, ModelConfig, doubts_about
from understudy.doctor.findings import Finding, State, Subject

STALE_DAYS = 30


def configured(loaded: LoadedCascade, refused: str | None, today: date) -> list[Finding]:
    """``refused`` is why its policy file is no use; None where it is, or there is none."""
    return [
        _policy(loaded, refused, today),
        _training(loaded),
        *(
            Finding(Subject.DOUBTS, State.HINT, "allowed, and can hardly be meant", doubt)
            for doubt in doubts_about(loaded)
        ),
    ]


def price_of(model: ModelConfig) -> Finding:
    """What is known of a model's price."""
    if model.price is not None:
        return Finding(Subject.PRICE, State.OK, model.price.words())
    advice = (
        "say its price: {input: …, output: …} in USD per million tokens, or a rent; until then the "
        "cost of its answers, and what is saved, is unknown"
    )
    return Finding(Subject.PRICE, State.HINT, "unknown", advice)


def _policy(loaded: LoadedCascade, refused: str | None, today: date) -> Finding:
    subject, again = Subject.POLICY, f"understudy calibrate RECORDS --cascade {loaded.name} …"
    if refused is not None:
        return Finding(subject, State.PROBLEM, "is no use: no gateway starts with it", refused)
    if loaded.origin is None:
        advice = f"the default rule orders drafts and promises nothing: fit one, `{again}`"
        return Finding(subject, State.HINT, "none: uncalibrated", advice)
    made = date.fromisoformat(loaded.origin.date)
    saw = f"{loaded.policy.version} of {made}, for {loaded.origin.student_version}"
    days = (today - made).days
    if days > STALE_DAYS:
        advice = (
            f"it is {days} days old, and traffic changes: look whether its promise still holds "
            f"(audits, holdout), and fit it again, `{again}`"
        )
        return Finding(subject, State.HINT, saw, advice)
    return Finding(subject, State.OK, saw)


def _training(loaded: LoadedCascade) -> Finding:
    if loaded.config.teacher.outputs_may_train:
        return Finding(Subject.TRAINING, State.OK, "the teacher's outputs may train")
    advice = (
        "no student can learn from its pairs: export and distill refuse them. Say "
        "outputs_may_train: true of the teacher where its licence allows that"
    )
    return Finding(Subject.TRAINING, State.HINT, "the teacher's outputs may not train", advice)
