"""The registration authority without HTTP: requests, decisions, rosters, revocations, logins, and the projection.

It holds no key and decides nothing that counts: it checks early so that people hear of problems early, and passes
what people signed on to the signer, which judges it again by itself.
"""
