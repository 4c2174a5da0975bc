"""A tiny model that was taught what to say to a few questions, right and wrong, and the same questions as data."""

import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo.checkpoint import save_model
from vlmzoo.data.collation import Collator
from vlmzoo.data.sources._tiny import TINY
from vlmzoo.types import Sample, assistant, user

THINGS = ("dog", "cat", "car", "cup", "tree", "lamp", "book", "bird", "boat", "fork", "shoe", "desk")
WORDS = ("yes", "no")
FGVQA = TINY / "twin" / "fgvqa"
LENT = ("fgvqa_ilias", "fgvqa_google_landmarks", "fgvqa_met", "fgvqa_inquire")
FGVQA_SUFFIX = " Say what you compare, and give the answer between <answer> and </answer>."
SUFFIX = "\nAnswer the question using a single word or phrase."


def pope_rows() -> list[dict[str, Any]]:
    """Return twelve questions; ``said`` is what the model learns: the word, the other word, or a sentence."""
    rows = []
    for number, thing in enumerate(THINGS):
        answer = WORDS[number % 2]
        other, sentence = WORDS[(number + 1) % 2], {"yes": "Yes, there is.", "no": "No, not here."}[answer]
        rows.append(
            {
                "id": str(number),
                "question_id": str(number),
                "question": f"Is there a {thing} in the image?",
                "answer": answer,
                "said": (answer, other, sentence, answer.title())[number // 3],
                "picture": make_picture(number),
            }
        )
    return rows


def fgvqa_rows() -> list[dict[str, Any]]:
    """Return the rows of FGVQA's miniature."""
    return [json.loads(line) for line in (FGVQA / "test.jsonl").read_text().splitlines()]


def whole_fgvqa_rows() -> list[dict[str, Any]]:
    """Return rows of all six subsets: the miniature has two, and lends its rows to the four others."""
    rows = fgvqa_rows()
    lent = [{**row, "dataset_source": source} for number, source in enumerate(LENT) for row in rows[number % 2 :: 2]]
    return [*rows, *lent]


def nlvr2_rows() -> list[dict[str, Any]]:
    """Return two statements about two pictures, and a row of another task; of both the model learns to say A."""
    rows = [
        {
            "sub_task": "NLVR2_Mantis",
            "question": f"<image> and <image>: one shows a {thing}. A. True B. False",
            "answer": "AB"[number],
            "image_0": make_picture(100 + number),
            "image_1": make_picture(200 + number),
        }
        for number, thing in enumerate(THINGS[:2])
    ]
    return [*rows, {**rows[0], "sub_task": "RAVEN"}]


def nlvr2_sample(row: Mapping[str, Any], said: str | None = None) -> Sample:
    """Return a row with its pictures at the marks, with its answer where there is one."""
    _, between, behind = row["question"].split("<image>")
    texts = [{"type": "text", "text": text} for text in (between, behind)]
    asked = {"role": "user", "content": [{"type": "image"}, texts[0], {"type": "image"}, texts[1]]}
    turns = [asked] if said is None else [asked, assistant(said)]
    return Sample(messages=turns, images=[row["image_0"], row["image_1"]], id="q")


def sample_of(question: str, pictures: Sequence[Any], said: str | None = None, *, id: str = "q") -> Sample:
    """Return a question, with its answer where there is one."""
    turns = [user(question, num_images=len(pictures))]
    return Sample(messages=[*turns, assistant(said)] if said is not None else turns, images=list(pictures), id=id)


def teach(model: Any, samples: Sequence[Sample], *, most_steps: int = 400) -> None:
    """Let a model learn samples by heart; fail where it does not."""
    torch.manual_seed(0)
    processor = model.processor
    batch = Collator(pad_token_id=processor.padding_id)([processor.encode(sample) for sample in samples])
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3)
    model.train()
    for _ in range(most_steps):
        loss = model(**batch.inputs).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss.item() < 0.003:
            break
    model.eval()
    assert loss.item() < 0.003, f"the model did not learn its answers: {loss.item()}"


@cache
def taught_model() -> Any:
    """Return a model that says what the rows of `pope_rows` want said, yes to FGVQA's pairs, else 1, to NLVR2 A."""
    model = make_base("llava-llama")
    samples = [sample_of(row["question"] + SUFFIX, [row["picture"]], row["said"]) for row in pope_rows()]
    for row in fgvqa_rows():
        said = f"<answer>{'yes' if row['question_type'] == 'pairwise' else '1'}</answer>"
        samples.append(sample_of(row["question"] + FGVQA_SUFFIX, [FGVQA / path for path in row["images"]], said))
    samples += [nlvr2_sample(row, "A") for row in nlvr2_rows()[:2]]
    teach(model, samples)
    return model


def save_taught(folder: Path) -> Path:
    """Write the model of `taught_model` and return its folder."""
    model = taught_model()
    return save_model(model, model.processor, folder)


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], *, images: Sequence[str]) -> None:
    """Write rows with pictures as Hugging Face datasets does, so that they are read as pictures."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    as_picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})  # another type is not read as a picture
    columns: dict[str, Any] = {name: [row[name] for row in rows] for name in rows[0]}
    features = {name: {"dtype": "string", "_type": "Value"} for name in columns}
    for name in images:
        pictures = [{"bytes": png_of(picture), "path": None} for picture in columns[name]]
        columns[name], features[name] = pa.array(pictures, type=as_picture), {"_type": "Image"}
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(told), path)


def png_of(picture: Any) -> bytes:
    """Encode a picture without loss."""
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()
