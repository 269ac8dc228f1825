"""A verifier's view of a PKI, from outside: what is served by HTTP, judged against the ledger and the last look.

``watch`` is the conductor; ``ledger``, ``files`` and ``answers`` look at one thing each; ``seen`` is what is remembered
between two looks, ``findings`` what is said of this one. It believes the PKI id and what follows from it, and needs
no login: everything that it reads is public.
"""
