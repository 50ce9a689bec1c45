"""The demonstration: a real student, a stand-in teacher, a real store, and the gateway between."""
