"""What can be wrong with what evaluation is given.  A refusal to promise is a value, no error."""


class EvaluationError(ValueError):
    """The caller asked for something that cannot be computed from what it gave."""


class RecordError(EvaluationError):
    """A file of evaluation records has a fault; the text names file, line and key."""


class TargetError(EvaluationError):
    """A target, or the plan to reach it, makes no sense."""
