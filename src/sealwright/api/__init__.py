"""The registry's HTTP edge: bytes in, JSON or a problem document out, and a console page to look at.

What a call means is ``registration``'s. A read needs a login; a write is a statement that proves itself.
"""
