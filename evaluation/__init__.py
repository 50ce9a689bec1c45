"""Measuring and fitting: records in; curves, bounds and, from them, policies out.

Nothing here serves a request, and of ours it imports `routing` alone.  Its libraries are the extra
`evaluate`.  Import from the modules: this file stays empty, so that reading records loads no scipy.
"""
