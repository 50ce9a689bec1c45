"""How the properties are searched: the same examples in every run, and no stop-watch.

A deadline would make a busy machine fail a pure function, and a new example in every run would
make someone's unrelated change fail.  To search wider, raise max_examples and turn derandomize off.
"""

from hypothesis import settings

settings.register_profile("routing", deadline=None, derandomize=True)
settings.load_profile("routing")
