"""What a run's objective asks of its experience, and is refused before anything is built."""

import pytest

from vlmzoo.config import load_config
from vlmzoo.errors import ConfigError
from vlmzoo.runs.policy import check_objective

REWARDS, ANSWERS, ONLINE, PAIRS = "tiny/virft/detection", "tiny/virft/sft_detection", "tiny/ovip", "tiny/preference"
SUM = "{type: weighted_sum, terms: {all: %s}}"
"""Every fault must be found in a term of a sum, too."""


def make_config(name, objective=None, *overrides):
    return load_config(name, [*([] if objective is None else [f"objective={objective}"]), *overrides])


@pytest.mark.parametrize(
    "name", [REWARDS, ANSWERS, ONLINE, PAIRS, "tiny/twin/pairs", "tiny/seg", "tiny/s2h/mini_table"]
)
def test_configs_of_the_library_fit(name):
    check_objective(make_config(name))


MISFITS = [
    (REWARDS, "{type: next_token}", "learn from rewards.*but learns from answers"),
    (REWARDS, "{type: preference}", "learn from rewards.*but learns from pairs"),
    (ANSWERS, "{type: grpo_verl}", "learn from answers.*take one of `next_token`"),
    (ANSWERS, "{type: preference}", "learn from answers"),
    (PAIRS, "{type: next_token}", "learn from pairs.*take one of `preference`"),
    (PAIRS, "{type: preference, strategy: mdpo}", r"strategy` must be the same, but are 'dpo' and 'mdpo'"),
    (
        ONLINE,
        "{type: preference, strategy: dpo, image_weight: null}",
        r"strategy` must be the same, but are 'orm' and 'dpo'",
    ),
    (ONLINE, "{type: preference, strategy: orm, mode: same_batch}", r"mode` must be the same"),
    (REWARDS, "{type: grpo_verl, entropy_coef: 0.1}", "with_entropy: true"),
    (REWARDS, "{type: dr_grpo, max_completion_tokens: 8}", r"max_new_tokens`.*are 8 and 24 instead"),
]


@pytest.mark.parametrize("is_sum", [False, True])
@pytest.mark.parametrize(("name", "objective", "says"), MISFITS)
def test_an_objective_that_cannot_learn_from_what_is_brought_is_refused(name, objective, says, is_sum):
    config = make_config(name, SUM % objective if is_sum else objective)
    with pytest.raises(ConfigError, match=says) as caught:
        check_objective(config)
    assert ("objective.terms.all" in str(caught.value)) == is_sum


@pytest.mark.parametrize("name", [PAIRS, ONLINE])
@pytest.mark.parametrize("anchor", [0.0, 0.1])
def test_pairs_without_a_reference_need_an_objective_that_does_without(name, anchor):
    strategy = "orm" if name == ONLINE else "dpo"
    free = f"{{type: preference, strategy: {strategy}, reference_free: true, anchor: {anchor}}}"
    bound = f"{{type: preference, strategy: {strategy}}}"
    without = "experience.reference=none"
    for objective in (bound, *([free] if anchor else [])):
        with pytest.raises(ConfigError, match="`experience.reference: none` needs"):
            check_objective(make_config(name, objective, without))
    if not anchor:
        check_objective(make_config(name, free, without))


@pytest.mark.parametrize("change", ["accumulation_steps=2", "experience.num_epochs=2", "experience.num_prompts=8"])
def test_ratios_are_taken_to_be_1_for_one_update_only(change):
    check_objective(make_config(REWARDS))
    with pytest.raises(ConfigError, match=r"behaviour: current` must have one update .* but has 2 instead"):
        check_objective(make_config(REWARDS, None, change))
    check_objective(make_config(REWARDS, "{type: grpo_verl}", change))


def test_what_says_nothing_of_itself_fits_everything():
    """An adapter's terms are of no kind, and stand beside any."""
    check_objective(make_config(ANSWERS, "{type: weighted_sum, terms: {a: {type: next_token}, b: {type: mask_bce}}}"))
