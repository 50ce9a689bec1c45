"""The core: pure decisions about drafts, teachers and money.  Does no input or output."""
