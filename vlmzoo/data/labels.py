"""Labels of classes as data write them."""

__all__ = ["normalised_label"]


def normalised_label(label: object) -> str:
    """Return a label as classes are told apart: without white space at its ends, in lower case."""
    return str(label).strip().lower()
