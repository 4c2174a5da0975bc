"""A model and a processor of a few lines, with the interface that transformers' have."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import BatchFeature

from vlmzoo.data.conversations import text_of
from vlmzoo.evaluation.benchmarks import Expected
from vlmzoo.scoring import Score
from vlmzoo.scoring.exact_match import ExactMatch
from vlmzoo.types import Sample, user

PAD, EOS, IMAGE, EXTRA, FIRST_CHARACTER = 0, 1, 2, 3, 8


class CharacterProcessor:
    """One token for a character, one for an image, padded as asked."""

    chat_template = "{{ messages }}"
    image_token_ids = (IMAGE,)
    tokenizer = SimpleNamespace(eos_token_id=EOS, pad_token_id=PAD, all_special_ids=[PAD, EOS, IMAGE, EXTRA])

    def apply_chat_template(self, conversations: Sequence[Any], **options: Any) -> BatchFeature:
        assert options["add_generation_prompt"]
        assert options["sanitize_control_tokens"]
        assert options["processor_kwargs"]["padding_side"] == "left"
        rows = [self.encode(text_of(messages)) for messages in conversations]
        images = [block["image"] for messages in conversations for m in messages for block in _images(m)]
        length = max(len(row) for row in rows)
        inputs = {
            "input_ids": torch.tensor([[PAD] * (length - len(row)) + row for row in rows]),
            "attention_mask": torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows]),
        }
        if images:
            inputs["pixel_values"] = torch.tensor([[float(image.getpixel((0, 0))[0])] for image in images])
        return BatchFeature(inputs)

    def encode(self, text: str) -> list[int]:
        return [IMAGE if c == "\x00" else ord(c) + FIRST_CHARACTER for c in text.replace("[image]\n", "\x00")]

    def batch_decode(self, rows: Sequence[Sequence[int]], *, skip_special_tokens: bool) -> list[str]:
        assert skip_special_tokens
        return ["".join(chr(id - FIRST_CHARACTER) for id in row if id >= FIRST_CHARACTER) for row in rows]


class TableModel(nn.Module):
    """Answers each prompt from a table; with an image, it reads the image's first value aloud."""

    def __init__(self, answers: Mapping[str, str], *, seed: int = 0, calls_before_kill: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)))
        self.answers = answers
        self.calls_left = calls_before_kill
        self.num_asked = 0
        self.seen: dict[str, Any] = {}
        self.config = SimpleNamespace(to_dict=lambda: {"hidden_dim": 4, "_name_or_path": str(seed)})
        self.generation_config = SimpleNamespace(eos_token_id=[EOS])
        self.device, self.dtype = torch.device("cpu"), torch.float32

    def generate(self, *, input_ids: Tensor, attention_mask: Tensor, max_new_tokens: int, **others: Any) -> Tensor:
        assert not self.training
        if self.calls_left == 0:
            raise KeyboardInterrupt
        self.calls_left = None if self.calls_left is None else self.calls_left - 1
        self.num_asked += len(input_ids)
        self.seen = others
        rows = [self._reply(r, input_ids, attention_mask, others) for r in range(len(input_ids))]
        rows = [row[:max_new_tokens] for row in rows]
        length = max(len(row) for row in rows)
        new = torch.tensor([row + [PAD] * (length - len(row)) for row in rows])
        return torch.cat([input_ids, new], dim=1)

    def _reply(self, r: int, input_ids: Tensor, attention_mask: Tensor, others: Mapping[str, Any]) -> list[int]:
        if "pixel_values" in others:
            text = str(int(others["pixel_values"][r, 0]))
        else:
            prompt = "".join(chr(id - FIRST_CHARACTER) for id in input_ids[r][attention_mask[r].bool()].tolist())
            text = self.answers[prompt]
        return [*(ord(c) + FIRST_CHARACTER for c in text), EOS]


class ListBenchmark:
    """Questions from a list; ``exact_match`` scores them."""

    expected: Expected | None = Expected(0.5, "a table of a paper")

    def __init__(self, samples: Sequence[Sample], *, max_new_tokens: int = 32) -> None:
        self.samples, self.max_new_tokens, self.num_questions = samples, max_new_tokens, len(samples)
        self.scores: Mapping[str, Score] = {"exact_match": ExactMatch()}

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"type": "list", "ids": [sample.id for sample in self.samples], "max_new_tokens": self.max_new_tokens}

    def questions(self) -> Sequence[Sample]:
        return self.samples


def _images(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [block for block in message["content"] if block["type"] == "image"]


@pytest.fixture
def processor() -> CharacterProcessor:
    return CharacterProcessor()


@pytest.fixture
def make_model() -> Callable[..., TableModel]:
    return TableModel


@pytest.fixture
def make_benchmark() -> Callable[..., ListBenchmark]:
    return ListBenchmark


@pytest.fixture
def samples() -> list[Sample]:
    """Seven questions of different lengths; the model of ``answers`` knows all but the last."""
    return [
        Sample(messages=[user("?" * (i + 1))], id=f"q{i}", reference=f"answer {i}", meta={"index": i}) for i in range(7)
    ]


@pytest.fixture
def answers(samples: Sequence[Sample]) -> dict[str, str]:
    known = {text_of(sample.messages): sample.reference for sample in samples}
    return {**known, "?" * 7: "no idea"}


@pytest.fixture
def image_samples() -> list[Sample]:
    return [
        Sample(
            messages=[user("which?", num_images=1)],
            images=[Image.new("RGB", (2, 2), (i, 0, 0))],
            id=str(i),
            reference=i,
        )
        for i in range(3)
    ]
