from tests.helpers.searches import formulas

__all__ = ["formulas"]
