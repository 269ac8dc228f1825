"""The auditor's room: an export of the ledger, checked from the PKI id on, and read. No network, no key, no database.

A second judge beside ``issuing``: both share what a statement, a certificate and a tree *is*, and nothing of how the
signer keeps its books.
"""
