"""The learned subspace rule, in parts."""

from probact.rules.subspace import rule  # noqa: F401 - registers it
