"""A small adapter that uses every clause of the contract, and the objective that trains it."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from vlmzoo.adapters import ADAPTERS, Adapter, AdapterBatch, AdapterInputs
from vlmzoo.objectives import OBJECTIVES
from vlmzoo.outputs import LossOutput

NUM_FEATURES = 3


class ProbeInputs(AdapterInputs):
    """Features and targets from ``sample.meta``; the protocol puts a word before the question."""

    def prepare(self, sample):
        first, *others = sample.messages
        if first["role"] != "user":
            return sample
        content = [
            {**block, "text": f"Probe. {block['text']}"} if block.get("type") == "text" else block
            for block in first["content"]
        ]
        return replace(sample, messages=[{**first, "content": content}, *others])

    def encode(self, sample):
        return {"features": sample.meta.get("features", []), "targets": sample.meta.get("targets", [])}

    def collate(self, rows):
        features = torch.tensor([one for row in rows for one in row["features"]]).reshape(-1, NUM_FEATURES)
        targets = torch.tensor([float(one) for row in rows for one in row["targets"]])
        return AdapterBatch(
            inputs={"probe_features": features},
            targets={"probe_targets": targets},
            counts={"probes": float(len(targets))},
        )


class ProbeAdapter(Adapter):
    """Reads the state that predicts each [PROBE], its embedding and the features, and says one number."""

    special_tokens = ("[PROBE]",)
    input_names = ("probe_features",)
    hidden_layers = (-1, 0)
    loss_terms = {"score": {"type": "probe_error", "weight": 0.5}}  # noqa: RUF012
    trainable = ("score.",)

    def __init__(self, *, host, token="[PROBE]"):
        super().__init__(host=host)
        self.special_tokens = (token,)
        self.score = nn.Linear(2 * host.hidden_size + NUM_FEATURES, 1)
        self.frozen = nn.Linear(1, 1)

    def make_inputs(self):
        return ProbeInputs()

    def forward(self, context):
        (token_id,) = context.token_ids.values()
        is_probe = context.input_ids == token_id
        predicting = context.hidden_states[-1][:, :-1][is_probe[:, 1:]]
        embedded = context.hidden_states[0][is_probe]
        features = context.inputs["probe_features"].to(predicting)
        return {"score": self.score(torch.cat([predicting, embedded, features], dim=-1)).squeeze(-1)}


@dataclass(frozen=True, kw_only=True)
class ProbeError:
    """Mean squared error of the probes' numbers."""

    def __call__(self, outputs, batch, denominators):
        errors = (outputs.adapters["probe"]["score"] - batch.targets["probe_targets"]).square()
        loss = errors.sum() / max(denominators["probes"], 1.0)
        return LossOutput(loss=loss, metrics={"error": loss.detach()})


if "probe" not in ADAPTERS:
    ADAPTERS.register("probe", source="these tests", tiny={})(ProbeAdapter)
    OBJECTIVES.register("probe_error", source="these tests", tiny={})(ProbeError)
