"""Gradient alignment: 1 with itself, blind to order, true to first order, and the same in a sketch on average."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vlmzoo.errors import ConfigError, DataError
from vlmzoo.evaluation.gradient_alignment import align_gradients, choose_parameters, example_gradients, sketch

sixteenths = st.integers(-32, 32).map(lambda count: count / 16)


def vectors(dim=5, *, least=2):
    return st.lists(st.lists(sixteenths, min_size=dim, max_size=dim), min_size=least, max_size=6).map(
        lambda rows: torch.tensor(rows, dtype=torch.float64)
    )


@given(vectors())
def test_a_level_is_as_good_as_itself(rows):
    found = align_gradients(rows, rows)
    if not found.norm_mean_hard:
        assert math.isnan(found.score)
        return
    assert found.score == pytest.approx(1.0) and found.cosine_of_means == pytest.approx(1.0)


@given(vectors(), vectors(), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(simple, hard, random):
    order = list(range(len(simple)))
    random.shuffle(order)
    first, other = align_gradients(simple, hard), align_gradients(simple[order], hard.flip(0))
    for name, value in first.to_dict().items():
        assert other.to_dict()[name] == pytest.approx(value, nan_ok=True, abs=1e-12)


@given(vectors(), vectors())
def test_the_figures_are_those_of_all_pairs(simple, hard):
    found = align_gradients(simple, hard)
    products, among_hard = simple @ hard.T, hard @ hard.T
    assert found.mean_inner_simple_hard == pytest.approx(float(products.mean()), abs=1e-12)
    assert found.mean_inner_hard_hard == pytest.approx(float(among_hard.mean()), abs=1e-12)
    different = ~torch.eye(len(hard), dtype=torch.bool)
    assert found.mean_inner_hard_hard_offdiag == pytest.approx(float(among_hard[different].mean()), abs=1e-12)
    lengths = simple.norm(dim=1)[:, None] * hard.norm(dim=1)
    cosines = torch.where(lengths > 0, products / lengths.clamp(min=1e-30), 0.0)
    assert found.mean_pairwise_cosine == pytest.approx(float(cosines.mean()), abs=1e-12)


@given(vectors(), vectors(), st.floats(0.1, 10))
def test_longer_simple_gradients_raise_the_score_and_leave_the_cosine(simple, hard, factor):
    first, longer = align_gradients(simple, hard), align_gradients(factor * simple, hard)
    assert longer.score == pytest.approx(factor * first.score, nan_ok=True)
    assert longer.cosine_of_means == pytest.approx(first.cosine_of_means, nan_ok=True)


def test_the_score_is_the_ratio_of_what_small_steps_take_from_the_hard_loss():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    data = {level: (torch.randn(5, 4, dtype=torch.float64), torch.randint(3, (5,))) for level in ("simple", "hard")}
    parameters = choose_parameters(model)

    def losses(level):
        return [
            lambda x=x, y=y: nn.functional.cross_entropy(model(x[None]), y[None])
            for x, y in zip(*data[level], strict=True)
        ]

    gradients = {level: torch.stack(list(example_gradients(losses(level), parameters))) for level in data}
    score = align_gradients(gradients["simple"], gradients["hard"]).score
    start = nn.utils.parameters_to_vector(model.parameters()).detach().clone()

    def change(level, step):
        nn.utils.vector_to_parameters(start - step * gradients[level].mean(0), model.parameters())
        x, y = data["hard"]
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model(x), y))

    before = change("hard", 0.0)
    ratio = (change("simple", 1e-5) - before) / (change("hard", 1e-5) - before)
    assert ratio == pytest.approx(score, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(vectors(8, least=2), st.integers(0, 2**31))
def test_a_sketch_is_linear_and_a_function_of_seed_and_name(rows, seed):
    first, second = rows[0], rows[1]
    together = sketch({"w": first + second}, 16, seed=seed)
    torch.testing.assert_close(together, sketch({"w": first}, 16, seed=seed) + sketch({"w": second}, 16, seed=seed))
    split = sketch({"w": first.reshape(2, 4)}, 16, seed=seed)
    torch.testing.assert_close(split, sketch({"w": first}, 16, seed=seed))
    assert not torch.equal(sketch({"w": torch.ones(8)}, 16, seed=seed), sketch({"v": torch.ones(8)}, 16, seed=seed))


def test_sketches_keep_inner_products_on_average_within_the_stated_variance():
    torch.manual_seed(0)
    a, b = torch.randn(300, dtype=torch.float64), torch.randn(300, dtype=torch.float64)
    b += 0.5 * a
    num_buckets, num_seeds = 64, 800
    products = torch.stack(
        [sketch({"w": a}, num_buckets, seed=s) @ sketch({"w": b}, num_buckets, seed=s) for s in range(num_seeds)]
    )
    variance = float((a @ a) * (b @ b) + (a @ b) ** 2) / num_buckets
    assert float(products.mean()) == pytest.approx(float(a @ b), abs=4 * (variance / num_seeds) ** 0.5)
    assert float(products.var()) < 1.2 * variance


def test_a_wide_sketch_gives_nearly_the_exact_score():
    torch.manual_seed(1)
    direction = torch.randn(2000, dtype=torch.float64)
    simple, hard = (direction + torch.randn(20, 2000, dtype=torch.float64) for _ in range(2))
    exact = align_gradients(simple, hard)
    sketched = align_gradients(*([sketch({"w": row}, 4096) for row in rows] for rows in (simple, hard)))
    assert sketched.score == pytest.approx(exact.score, abs=0.05)
    assert sketched.cosine_of_means == pytest.approx(exact.cosine_of_means, abs=0.05)


def test_parameters_without_a_part_in_the_loss_have_a_gradient_of_zero():
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "idle": nn.Linear(2, 1)})
    (gradient,) = example_gradients([lambda: model["used"](torch.ones(2)).sum()], choose_parameters(model))
    assert gradient.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_layers_are_chosen_by_pattern_and_a_pattern_without_any_is_refused():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    assert list(choose_parameters(model, ["1.*"])) == ["1.weight", "1.bias"]
    with pytest.raises(ConfigError, match="`2.*` matches none"):
        choose_parameters(model, ["1.*", "2.*"])


def test_levels_without_a_finite_gradient_are_refused():
    with pytest.raises(DataError, match="at least one gradient of each level"):
        align_gradients([], [torch.ones(2)])
    with pytest.raises(DataError, match="Gradient 1 must be finite"):
        align_gradients([torch.ones(2), torch.tensor([1.0, math.inf])], [torch.ones(2)])
    with pytest.raises(ConfigError, match="`sketch_dim` must be at least 1"):
        sketch({"w": torch.ones(2)}, 0)
