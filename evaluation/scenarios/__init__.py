"""A cascade's days, played in seconds: the real controllers, against traffic made up or recorded.

Controllers, decisions and the states of breakers are routing's own.  What is made here is the world
around them, of which everything is known: what each draft is worth, what the teacher takes, what
breaks and when.  Nothing here waits or asks anybody.
"""
