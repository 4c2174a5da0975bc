"""Questions about one of several images, in the words that MIA-DPO asks them.

Source: section 3 of the paper and gen_data of Liuziyu77/MIA-DPO@a85c51a.
"""

from collections.abc import Sequence
from itertools import product

from vlmzoo.data.mia import IMAGE_TAG, LayoutKind
from vlmzoo.errors import DataError

__all__ = ["IMAGE_TAG", "PIC_IN_PIC_PHRASES", "multi_image_questions"]

_OPENINGS = (
    "For", "Regarding", "Concerning", "Pertaining to", "With respect to", "As for", "Focusing on", "In relation to",
    "When it comes to", "With regards to", "About", "Referring to", "In terms of",
)  # fmt: skip
_NOUNS = ("image", "picture", "subplot", "plot")
_PLACES = ("in the center", "in the middle", "at the center", "located in the center")
_SUBJECTS = (
    *(f"the {place} {noun}" for place, noun in product(("central", "middle"), _NOUNS)),
    *(f"the image {place}" for place in _PLACES),
)
PIC_IN_PIC_PHRASES = tuple(f"{opening} {subject}" for opening, subject in product(_OPENINGS, _SUBJECTS))
"""Ways to point at the picture in the middle; the authors use about 90 of this pattern."""


def multi_image_questions(
    kind: LayoutKind, questions: Sequence[str], *, num_images: int = 1, target: int = 1, phrase: str = ""
) -> list[str]:
    """Return the user turns of a conversation, asked about one of several images.

    Args:
        kind: how the images are laid out.
        questions: the user turns as they were, the first with its image tag anywhere in it.
        num_images: of a sequence.
        target: which image is meant, from 1.
        phrase: how the middle picture is pointed at, e.g. one of :data:`PIC_IN_PIC_PHRASES`.

    Returns:
        The turns with image tags where images go: one tag for each image of a sequence, one for a collage.

    Raises:
        DataError: if a question is empty without its tag, or the target is none of the images.
    """
    if kind != "pic_in_pic" and not 1 <= target <= num_images:
        raise DataError(f"`target` must be one of the {num_images} images, from 1, but is {target} instead.")
    tags = f"{IMAGE_TAG}\n"
    if kind == "sequence":
        tags = "".join(f"Image{number}:{IMAGE_TAG}\n" for number in range(1, num_images + 1))
    turns: list[str] = []
    for number, question in enumerate(questions):
        bare = question.replace(f"{IMAGE_TAG}\n", "").replace(IMAGE_TAG, "")
        if not bare:
            raise DataError(
                f"Question {number + 1} must say something beside its image tag, but is {question!r}; leave it out."
            )
        asked = bare[0].lower() + bare[1:]
        pointer = phrase if kind == "pic_in_pic" else f"In {'image' if number else 'Image'}{target}"
        turns.append(f"{'' if number else tags}{pointer}, {asked}")
    return turns
