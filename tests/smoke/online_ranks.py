"""An online run on two ranks, of which the second has a judge that never says a score."""

import json
import sys
from pathlib import Path

from vlmzoo.config import load_config
from vlmzoo.distributed import rank
from vlmzoo.runs import train as train_module
from vlmzoo.runs import train_run
from vlmzoo.services.judges import JUDGES, Verdict
from vlmzoo.services.judges.object_f1 import ObjectF1Judge


@JUDGES.register("deaf_rank", source="a test", tiny={})
class DeafRankJudge(ObjectF1Judge):
    """Judges as ``object_f1`` does, but not on the second rank."""

    def score(self, items):
        if rank() == 1:
            return [Verdict(score=None, reason="deaf", is_failure=True) for _ in items]
        return super().score(items)


def main(path):
    models = []
    build = train_module.model_of
    train_module.model_of = lambda *given, **options: models.append(build(*given, **options)) or models[-1]
    train_run(load_config(path))
    model, _ = models[0]
    sums = {name: float(weight.double().sum()) for name, weight in model.named_parameters() if weight.requires_grad}
    (Path(path).parent / f"weights-{rank()}.json").write_text(json.dumps(sums), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
