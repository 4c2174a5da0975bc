"""What frozen encoders make of an image, kept on disk: it is computed once, whatever the epoch or the run.

Letters: K encoders, C_k channels and (h_k, w_k) grid of encoder k, (H, W) pixels.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlmzoo.distributed import max_over_ranks
from vlmzoo.errors import ConfigError

__all__ = ["FeatureCache"]

logger = logging.getLogger(__name__)

Encode = Callable[[Tensor], list[Tensor]]


class FeatureCache:
    """Feature maps by what they were made of: the pixels of the image, and the weights of the encoders.

    An image is known by a digest of its pixels as the encoders see them, so that another size, another crop or another
    normalisation is another image. Encoders run in evaluation mode and without gradients. What cannot be read is made
    anew. Several processes may share a folder: a file appears when it is whole.

    Args:
        folder: where to; each set of encoders has a folder of its own there.
        encoders: that make the features; frozen.
        description: what else the features depend on, such as the specs of the encoders.

    Attributes:
        num_found: images whose maps were on disk.
        num_made: images that went through the encoders.

    Raises:
        ConfigError: if an encoder learns.
    """

    def __init__(self, folder: str | Path, encoders: Sequence[nn.Module], *, description: object = None) -> None:
        for encoder in encoders:
            learning = next((name for name, p in encoder.named_parameters() if p.requires_grad), None)
            if learning is not None:
                raise ConfigError(
                    f"`feature_cache` needs encoders that do not learn, but `{learning}` does; freeze them "
                    "(`optim.frozen: [encoder]`), or leave the cache out."
                )
        self.encoders = list(encoders)
        self.folder = Path(folder).expanduser() / _digest_of(encoders, description)
        self.num_found = 0
        self.num_made = 0

    def maps(self, pixel_values: Tensor, encode: Encode, *, together: bool = False) -> list[Tensor]:
        """Return the feature maps of images.

        Args:
            pixel_values: ``(images, 3, H, W)``.
            encode: makes K maps, the k-th of shape ``(images, C_k, h_k, w_k)``.
            together: whether all ranks must run the encoders if one does, for their weights are split (ZeRO-3).

        Returns:
            The same maps, from disk as far as they are there.
        """
        paths = [self._path(image) for image in pixel_values]
        rows = [self._read(path, like=pixel_values) for path in paths]
        missing = [number for number, row in enumerate(rows) if row is None]
        self.num_found += len(rows) - len(missing)
        if max_over_ranks(len(missing)) if together else missing:
            made = self._make(pixel_values[missing or [0]], encode)  # an idle rank encodes one along with the others
            for number, row in zip(missing, made, strict=False):
                _write(paths[number], row)
                rows[number] = row
            self.num_made += len(missing)
        return [torch.stack(maps) for maps in zip(*(row for row in rows if row is not None), strict=True)]

    @torch.no_grad()
    def _make(self, pixel_values: Tensor, encode: Encode) -> list[list[Tensor]]:
        """Return the K maps of each image."""
        for encoder in self.encoders:
            encoder.eval()  # a dropped path would be kept for ever
        return [list(row) for row in zip(*encode(pixel_values), strict=True)]

    def _path(self, image: Tensor) -> Path:
        held = image.detach().cpu().contiguous()
        digest = hashlib.blake2b(f"{held.dtype} {tuple(held.shape)}".encode(), digest_size=20)
        digest.update(held.view(torch.uint8).numpy().data)
        name = digest.hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def _read(self, path: Path, *, like: Tensor) -> list[Tensor] | None:
        """Return the K maps of an image, or None if they are not there."""
        try:
            held = load_file(path)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError) as error:
            logger.warning("Features in `%s` cannot be read and are made anew: %s", path, error)
            return None
        return [held[str(number)].to(like.device) for number in range(len(held))]


def _write(path: Path, maps: Sequence[Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({str(number): held.contiguous().cpu() for number, held in enumerate(maps)}, partial)
    partial.replace(path)


def _digest_of(encoders: Sequence[nn.Module], description: object) -> str:
    """Return a digest of all that the features depend on beside the pixels: kinds, shapes and weights."""
    digest = hashlib.blake2b(repr(description).encode(), digest_size=8)
    for encoder in encoders:
        digest.update(repr(encoder).encode())
        for name, tensor in encoder.state_dict().items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
