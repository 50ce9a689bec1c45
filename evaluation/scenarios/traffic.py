"""How many requests come in each second."""

import math

import numpy as np

from evaluation.outcomes import Floats
from evaluation.scenarios.scenario import Shape, Traffic

DAY_SECONDS = 86_400


def rates(traffic: Traffic) -> Floats:
    """Requests that are to be expected in each second, shape (seconds,).

    A day begins in its valley.  The mean over whole days, or whole rounds of bursts, is
    ``per_second``.
    """
    second = np.arange(traffic.seconds)
    match traffic.shape:
        case Shape.STEADY:
            return np.full(traffic.seconds, traffic.per_second)
        case Shape.DAY_CYCLE:
            angle = 2.0 * math.pi * second / DAY_SECONDS
            return np.asarray(traffic.per_second * (1.0 - traffic.swing * np.cos(angle)))
        case Shape.BURST:
            share = traffic.burst_seconds / traffic.burst_every_seconds
            usual = traffic.per_second / (1.0 + share * (traffic.burst_times - 1.0))
            # A round ends with its burst, so that nothing begins with one.
            place = second % traffic.burst_every_seconds
            is_burst = place >= traffic.burst_every_seconds - traffic.burst_seconds
            return np.where(is_burst, usual * traffic.burst_times, usual)
