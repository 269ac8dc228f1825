"""Answers verifiers: snapshot, sync, responder and HTTP. Holds no key."""
