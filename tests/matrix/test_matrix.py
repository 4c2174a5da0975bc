"""Every legal pair of base and adapters works from building to resuming; illegal pairs fail before a weight is read.

``python -m tests.matrix.table`` runs all pairs and writes what the table in the documentation shows.
"""

import pytest

from tests.matrix.checks import check_all, check_cheaply
from tests.matrix.pairs import BASES, PAIRS, SETS
from vlmzoo import build_model, list_models
from vlmzoo.adapters import ADAPTERS
from vlmzoo.errors import ConfigError, RegistryError
from vlmzoo.zoo import load_card

DIAGONAL = [(base, list(SETS)[number % len(SETS)]) for number, base in enumerate(BASES)]
SEG_AGAIN = {"type": "seg", "name": "second"}


def test_the_table_has_every_architecture_and_every_adapter():
    def kind(name):
        card = load_card(name)
        held = card.architecture
        return (card.family, held.model_type if card.family == "native" else len(held.encoder_specs))

    shown = {kind(name) for name in BASES}
    families = {found[0] for found in map(kind, list_models()) if found[0] != "native"}
    assert {found[0] for found in shown if found[0] != "native"} == families
    assert {kind(name) for name in list_models() if kind(name)[0] == "native"} <= shown
    assert {spec["type"] for specs in SETS.values() for spec in specs} >= {
        entry.name for entry in ADAPTERS if entry.build.__module__.startswith("vlmzoo.")
    }


@pytest.mark.parametrize(("base", "adapters"), DIAGONAL, ids=str)
def test_a_pair_builds_speaks_saves_and_loads(base, adapters, tmp_path):
    check_cheaply(base, adapters, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "adapters"), PAIRS, ids=str)
def test_a_pair_learns_eight_samples_by_heart_and_resumes(base, adapters, tmp_path):
    check_all(base, adapters, tmp_path)


@pytest.mark.parametrize("base", ["llava-1.5-7b", "eagle-x2-llama3-8b", "qwen2.5-vl-3b"])
@pytest.mark.parametrize(
    ("adapters", "error", "reason"),
    [
        (["lora", {"type": "lora", "name": "second"}], ConfigError, "A model holds one `lora`"),
        ([{"type": "lora", "targets": ["ears"]}], ConfigError, "the part `ears`, which"),
        ([{"type": "lora", "whole": ["ears"]}], ConfigError, "`whole` names the part `ears`, which"),
        ([{"type": "lora", "rank": 0}], ConfigError, "`rank` must be a whole number of 1 or more, but is 0"),
        (["seg", SEG_AGAIN], ConfigError, r"`seg` and `second` both add the token `\[SEG\]`"),
        (["seg", "seg"], ConfigError, "Two adapters are called `seg`"),
        ([{"type": "seg", "decoder": "sam-vit-x"}], RegistryError, "no mask decoder named `sam-vit-x`"),
        ([{"type": "switch", "num_latents": 0}], ConfigError, "`num_latents` must be a positive whole number"),
        ([{"type": "roi", "least_side_px": 0}], ConfigError, "`least_side_px` must be a positive whole number"),
        (["segment"], RegistryError, "no adapter named `segment`"),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value)[:40],
)
def test_an_illegal_pair_fails_with_a_reason_before_any_weight_is_read(base, adapters, error, reason, monkeypatch):
    from vlmzoo.hub import download

    def fetch(*_args, **_kwargs):
        raise AssertionError("weights were asked for")

    monkeypatch.setattr(download, "fetch_model", fetch)
    with pytest.raises(error, match=reason):
        build_model(base, pretrained=True, adapters=adapters)


def test_the_page_shows_what_was_written_down():
    from tests.matrix.table import MARKS, PAGE, read_results, render, with_table

    page, results = PAGE.read_text(encoding="utf-8"), read_results()
    assert page == with_table(page, render(results))
    assert set(results["pairs"]) <= {f"{base}: {adapters}" for base, adapters in PAIRS}
    assert all(page.count(mark) == 1 for mark in MARKS)
