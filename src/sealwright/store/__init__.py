"""Tables, sessions and migrations: the one room that speaks SQL.

Nothing here decides anything. The ledger is the truth; what these databases say can be projected from it again.
"""
