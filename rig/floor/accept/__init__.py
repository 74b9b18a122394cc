"""Acceptance: known artefacts measured, errors held against permissible ones, a certificate."""
