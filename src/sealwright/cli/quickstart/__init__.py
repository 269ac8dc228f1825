"""The quickstart: a whole PKI on one machine, as a rehearsal, told as a story.

``story`` tells and times, ``place`` knows the folder, ``chapters`` are the story in order, ``verifiers`` asks programs
that are not ours, ``evidence`` writes down what they said. It does nothing that a person could not do with the three
commands: it runs them, and shows them.
"""
