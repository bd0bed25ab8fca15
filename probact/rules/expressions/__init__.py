"""The rule ``expression``: any update rule that a formula says."""

from probact.support.registry import import_parts

import_parts(__name__)
