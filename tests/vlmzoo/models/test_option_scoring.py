"""Options behind one prompt: how likely each is, and whether the model would say it by itself."""

from types import SimpleNamespace

import torch

from vlmzoo.models.option_scoring import option_nats, score_options


class CountingModel:
    """Says the number that follows the last one, with a logit of 5 above all others."""

    model = None

    def __call__(self, *, input_ids, **_):
        logits = torch.nn.functional.one_hot(input_ids + 1, 12).float() * 5
        return SimpleNamespace(logits=logits, cache=SimpleNamespace(batch_repeat_interleave=lambda _: None))


def test_an_option_is_greedy_where_each_of_its_ids_is_the_most_probable():
    prompt = {"input_ids": torch.tensor([[1, 2]]), "attention_mask": torch.ones(1, 2, dtype=torch.long)}
    options = [[3], [3, 4, 5], [4], [3, 4, 6]]
    found = score_options(CountingModel(), prompt, options)
    assert found.is_greedy.tolist() == [True, True, False, False]
    right, wrong = (-torch.tensor([5.0] + [0.0] * 11).log_softmax(0)[place].item() for place in (0, 1))
    expected = torch.tensor([right, right, wrong, (2 * right + wrong) / 3])
    torch.testing.assert_close(found.nats, expected)
    assert torch.equal(option_nats(CountingModel(), prompt, options), found.nats)
