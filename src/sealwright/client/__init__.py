"""The team's side: what a person asks, and everything it is told verified on the person's own machine.

It believes the PKI id that it was given, and what follows from it: anchor, rosters, pins, profiles. What the registry
adds is shown as the registry's word. Nothing is printed here; that is ``cli``'s.
"""
