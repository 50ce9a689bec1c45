"""Are rate and spend held?  Replicas, a store and traffic around the controllers, by the second.

Nothing here decides anything: what is measured is ``routing/pacing.py`` and ``routing/cap.py``.
"""
