"""Does the promise on kept drafts hold, and what does it cost?  Simulated, many runs at a time.

``docs/promise.md`` has the formulation, the theorem and what came out.
"""
