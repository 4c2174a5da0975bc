"""The ROI adapter: first a model says where to look, then it answers with that region before it (Chain-of-Spot).

It has no weights of its own: a base learns it from conversations (source ``chain_of_spot``). ``vlmzoo.models.looking``
asks a model in two turns.

Letters: (W, H) pixels of an image.
"""

from collections.abc import Mapping
from typing import Any, Literal

from PIL import Image

from vlmzoo.adapters import ADAPTERS
from vlmzoo.adapters.contract import Adapter, Host
from vlmzoo.data.images import load_image, pad_to_square
from vlmzoo.data.regions import Region, focus_turn, read_region, region_turn
from vlmzoo.errors import ConfigError
from vlmzoo.geometry import Box, Frame
from vlmzoo.types import ImageLike, Sample, assistant

__all__ = ["RoiAdapter", "crop_of"]

_BACKGROUND = (122, 116, 104)  # CLIP's mean colour


@ADAPTERS.register(
    "roi", source="Chain-of-Spot, arXiv:2403.12966, section 3.2; the ROI adapter of FaST, arXiv:2408.08862", tiny={}
)
class RoiAdapter(Adapter):
    """The protocol of looking twice, and how many regions could not be read.

    Args:
        wording: ``what`` asks as the authors' evaluation does, ``where`` as their training.
        least_side_px: a smaller region is widened.
        compat: ``cos`` reads regions by the authors' rule, see ``read_region``.
        host: the base.

    Attributes:
        num_read: regions that were read so far.
        num_failed: answers in which no region could be read, so that the whole image was shown again.

    Raises:
        ConfigError: if an option is unknown.
    """

    def __init__(
        self,
        *,
        wording: Literal["what", "where"] = "what",
        least_side_px: int = 32,
        compat: Literal["cos"] | None = None,
        host: Host,
    ) -> None:
        super().__init__(host=host)
        self.check_host(host, wording=wording, least_side_px=least_side_px, compat=compat)
        self.wording: Literal["what", "where"] = wording
        self.least_side_px = least_side_px
        self.compat: Literal["cos"] | None = compat
        self.num_read = 0
        self.num_failed = 0

    @classmethod
    def check_host(cls, host: Host, **options: Any) -> None:
        """Check the options.

        Raises:
            ConfigError: naming the option.
        """
        choices: Mapping[str, tuple[Any, ...]] = {"wording": ("what", "where"), "compat": ("cos", None)}
        for name, known in choices.items():
            if name in options and options[name] not in known:
                raise ConfigError(f"adapter `roi`: `{name}` must be one of {known}, but is {options[name]!r} instead.")
        side = options.get("least_side_px", 1)
        if isinstance(side, bool) or not isinstance(side, int) or side < 1:
            raise ConfigError(f"adapter `roi`: `least_side_px` must be a positive whole number, but is {side!r}.")

    def region_sample(self, image: ImageLike, question: str) -> Sample:
        """Return the first turn: where to look."""
        return Sample(messages=[region_turn(question, wording=self.wording)], images=[load_image(image)])

    def answer_sample(
        self, image: ImageLike, question: str, *, said: str, region: Region, asks_letter: bool = False
    ) -> Sample:
        """Return the second turn, with what was said in the first and the region as a second image.

        Args:
            image: that is asked about.
            question: of the user.
            said: the model's own answer in the first turn.
            region: that was read out of it.
            asks_letter: whether an option's letter is asked for, as for ScienceQA.
        """
        picture = load_image(image)
        messages = [
            region_turn(question, wording=self.wording),
            assistant(said),
            focus_turn(question, asks_letter=asks_letter),
        ]
        return Sample(messages=messages, images=[picture, crop_of(picture, region)])

    def read(self, said: str, image: Image.Image) -> Region:
        """Read a region of an image out of an answer, and count whether that was possible."""
        frame = Frame.original("image", width=image.width, height=image.height)
        square = frame.padded_to_square(align="center")
        region = read_region(said, square=square, least_side_px=self.least_side_px, compat=self.compat)
        x0, y0, x1, y1 = region.box.rounded().clipped().xyxy
        if region.fault is None and (x1 <= x0 or y1 <= y0):
            region = Region(box=Box.whole(square), fault=f"the region in {said[:60]!r} holds no pixel")
        self.num_read += region.fault is None
        self.num_failed += region.fault is not None
        return region


def crop_of(picture: Image.Image, region: Region) -> Image.Image:
    """Return the pixels of a region of the centre-padded square; edges are rounded as Pillow does."""
    padded = pad_to_square(picture, align="center", background=_BACKGROUND)
    x0, y0, x1, y1 = (int(edge) for edge in region.box.rounded().xyxy)
    return padded.crop((x0, y0, x1, y1))
