"""Contracts with their expected verdicts: hostile ones that are refused or stopped, and benign ones that must work."""
