"""Where a training's numbers go beside ``metrics.jsonl``; every module in this folder registers its own."""

from probact.support.registry import import_parts

import_parts(__name__)
