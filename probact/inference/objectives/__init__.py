"""What meta-training minimises; every module here registers its own."""

from probact.support.registry import import_parts

import_parts(__name__)
