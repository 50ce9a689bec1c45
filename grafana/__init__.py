"""Dashboards as code: what the metrics say to those who pay, and to those who operate."""
