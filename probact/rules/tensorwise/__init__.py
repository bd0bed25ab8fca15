"""The learned rule for minibatches, in parts."""

from probact.rules.tensorwise import rule  # noqa: F401 - registers it
