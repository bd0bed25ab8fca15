"""The data sets that curves are trained on; every module in this room registers its own."""

from probact.support.registry import import_parts

import_parts(__name__)
