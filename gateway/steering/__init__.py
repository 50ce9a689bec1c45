"""Holds cascades to their objectives: what replicas report, who controls, and what all follow."""
