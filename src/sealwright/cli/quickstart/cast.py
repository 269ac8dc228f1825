"""Who is in the story."""

OFFICERS = ("olga", "omar", "odile")
REQUESTER, APPROVER = "alice", "bob"
TEAM, PROJECT = "payments", "terminal"
CEREMONIES = ("root-genesis", "issuing-key", "issuing-ca", "root-crl")
