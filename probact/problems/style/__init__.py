"""Neural style transfer, in parts."""

from probact.problems.style import family  # noqa: F401 - registers it
