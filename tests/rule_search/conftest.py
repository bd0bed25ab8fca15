from tests.helpers.formulas import formulas

__all__ = ["formulas"]
