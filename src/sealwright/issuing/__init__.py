"""The signer: the gate, issuance, revocation, CRLs, recovery, and the socket service around them.

One issuance, step by step, is told in README.md beside this file. No HTTP and no shared database is known here.
"""
