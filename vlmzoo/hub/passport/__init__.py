"""Passports: what a model must be, written down once and replayed anywhere.

A passport holds the fields of the configuration, a digest of every tensor, the rows of the tokenizer, the settings of
the processor and what it makes of three built-in pictures, what every layer answers, the first token's logits and
sixteen greedy tokens. Replayed, it names the first thing that departs.

Texts, ids and digests are compared exactly. Numbers that arithmetic rounds (pixels, layers, logits) are compared within
the tolerances of `compare`, since they differ a little between processors and versions of torch.
"""

from vlmzoo.hub.passport.checking import check_entry, check_folder, check_model, make_entry, make_passport
from vlmzoo.hub.passport.compare import Departure, PassportReport
from vlmzoo.hub.passport.files import PASSPORT, read_passport, shipped_passport, write_passport
from vlmzoo.hub.passport.published import check_published
from vlmzoo.hub.passport.twins import make_twin

__all__ = [
    "PASSPORT",
    "Departure",
    "PassportReport",
    "check_entry",
    "check_folder",
    "check_model",
    "check_published",
    "make_entry",
    "make_passport",
    "make_twin",
    "read_passport",
    "shipped_passport",
    "write_passport",
]
