"""Questions about phrases of segmentation sets, in the words of LISA's validation."""

from collections.abc import Mapping, Sequence

from vlmzoo.data.sources._segmentation import AnnotatedImage, Phrase
from vlmzoo.types import Sample, user

__all__ = ["phrase_question"]


def phrase_question(
    image: AnnotatedImage, phrase: Phrase, templates: Mapping[str, str], *, number: int = 0, groups: Sequence[str] = ()
) -> Sample:
    """Return a question about one phrase, with its mask as the truth.

    Args:
        image: what is asked about.
        phrase: of the image.
        templates: ``class`` and ``sentence``.
        number: of the phrase, for the id.
        groups: of whose questions the mean is told beside that of all.
    """
    if phrase.is_sentence:
        text = templates["sentence"].format(sent=phrase.text)
    else:
        text = templates["class"].format(class_name=phrase.text)
    ignored = None if phrase.ignored is None else phrase.ignored()
    return Sample(
        messages=[user(text, num_images=1)],
        images=(image.image,),
        id=f"{image.id}/{number}",
        reference=phrase.text,
        masks=[phrase.mask()],
        ignored_masks=() if ignored is None else (ignored,),
        meta={**image.meta, **phrase.ids, "groups": list(groups)},
    )
