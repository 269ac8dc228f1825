"""Every rule of our own that a certificate is held to, in the order they are asked.

Each has its id in ``ca/policy.md``, in the comments of ``ca/profiles``, and a passing and a failing test. Weak keys
(``weakness``) and pkilint (``lint``) come after them.
"""

from sealwright.pki.candidate import Rule
from sealwright.pki.rules_extensions import EXTENSION_RULES
from sealwright.pki.rules_identity import IDENTITY_RULES
from sealwright.pki.rules_opinion import OPINION_RULES
from sealwright.pki.rules_validity import VALIDITY_RULES

RULES: tuple[Rule, ...] = (*IDENTITY_RULES, *VALIDITY_RULES, *EXTENSION_RULES, *OPINION_RULES)
