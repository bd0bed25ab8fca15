"""When to stop, decided online; every module in this room registers its own rules."""

from probact.support.registry import import_parts

import_parts(__name__)
