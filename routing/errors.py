"""What can be wrong with a policy.  Raised while a policy is loaded, never while it decides."""


class PolicyError(ValueError):
    """A policy document that cannot be used; the message names the path, the value and the fix."""


class CalibrationError(PolicyError):
    """A map from score to confidence that is not one: not monotone, not finite, out of range."""
