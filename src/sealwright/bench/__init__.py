"""What things cost, measured: one module a subject, run by ``scripts/bench SUBJECT``."""
