"""The making of pairs beside training: the ledger, the stages, their queues, and what is left on disk."""

import json
import threading
import time

import pytest
from PIL import Image

from vlmzoo.data.json_lines import read_json_lines
from vlmzoo.errors import ConfigError, DataError, ServiceError
from vlmzoo.scoring.selections import SELECTIONS
from vlmzoo.services.describers import DESCRIBERS, Description
from vlmzoo.services.judges import JUDGES, Verdict
from vlmzoo.services.ledger import BudgetSpentError, Ledger
from vlmzoo.services.negative_images import NEGATIVE_IMAGES, Rendered
from vlmzoo.services.pair_making.images import ImageStore
from vlmzoo.services.pair_making.items import Answer, AskedPrompt, MadePair
from vlmzoo.services.pair_making.maker import PairMaker
from vlmzoo.services.pair_making.pipeline import Pipeline
from vlmzoo.services.pair_making.spool import Spool, export_pairs, read_spool
from vlmzoo.services.verifiers import VERIFIERS

PICTURE = Image.linear_gradient("L").convert("RGB").resize((24, 24))
TEXTS = ("a red circle, a blue circle", "a green square", "a red circle", "nothing")


class Counting:
    """Stands before a service and counts what it is asked; can wait, or fail."""

    def __init__(self, inner, *, delay_s=0.0, fails=()):
        self.inner, self.delay_s, self.fails, self.calls, self.items = inner, delay_s, set(fails), 0, 0
        self.lock = threading.Lock()

    @property
    def identity(self):
        return self.inner.identity

    def check(self):
        self.inner.check()

    def _count(self, items):
        with self.lock:
            self.calls += 1
            self.items += len(items)
        time.sleep(self.delay_s)
        return self.calls in self.fails or "all" in self.fails

    def score(self, items):
        if self._count(items):
            return [Verdict(score=None, reason="down", is_failure=True) for _ in items]
        return self.inner.score(items)

    def describe(self, items):
        if self._count(items):
            return [Description(text=None, reason="down", is_failure=True) for _ in items]
        return self.inner.describe(items)

    def render(self, items):
        if self._count(items):
            return [Rendered(image=None, reason="down") for _ in items]
        return self.inner.render(items)


def make_asked(place, texts=TEXTS):
    answers = tuple(Answer(text=text, ids=(place + 3, number + 3, 2), count=1) for number, text in enumerate(texts))
    return AskedPrompt(
        place=place,
        name=f"s{place}",
        question="Describe this image.",
        reference=TEXTS[0],
        answers=answers,
        policy_step=place,
    )


def make_maker(*, ledger=None, store=None, judge=None, describer=None, images=None, **options):
    return PairMaker(
        judge=judge or JUDGES.build({"type": "object_f1"}),
        selection=SELECTIONS.build({"type": "ovip_code"}),
        describer=describer or DESCRIBERS.build({"type": "rejected_answer"}),
        images=images or NEGATIVE_IMAGES.build({"type": "icons"}),
        verifiers=[VERIFIERS.build({"type": "differs"})],
        ledger=ledger or Ledger(),
        store=store or ImageStore(),
        **options,
    )


def test_a_prompt_becomes_a_pair_with_the_ids_that_were_drawn_and_a_picture_of_the_worse_answer():
    store = ImageStore()
    made = make_maker(store=store).make(make_asked(5, TEXTS[:3]), PICTURE)
    (pair,) = made.pairs
    assert (pair.chosen, pair.rejected) == (TEXTS[0], TEXTS[1])
    assert (pair.chosen_ids, pair.rejected_ids) == ((8, 3, 2), (8, 4, 2))
    assert store.get(pair.image).size == (24, 24) and store.get(pair.positive).tobytes() == PICTURE.tobytes()
    assert MadePair.from_dict(json.loads(json.dumps(pair.to_dict()))) == pair
    assert AskedPrompt.from_dict(json.loads(json.dumps(made.asked.to_dict()))) == made.asked
    assert made.counts["prompts"] == 1 and made.counts["answers"] == 3 and made.counts["invalid"] == 0


def test_pictures_of_two_pairs_never_share_their_noise():
    images = Counting(NEGATIVE_IMAGES.build({"type": "icons"}))
    seeds = []
    images.render = lambda items: [seeds.append(item.seed) or Rendered(image=PICTURE.rotate(90)) for item in items]
    maker = make_maker(images=images)
    for place in range(4):
        maker.make(make_asked(place, TEXTS[:3]), PICTURE)
    assert len(set(seeds)) == 4


def test_answers_that_cannot_be_judged_fall_out_and_never_count_as_bad():
    class Half:
        identity: dict = {"judge": "half"}  # noqa: RUF012

        def check(self):
            pass

        def score(self, items):
            return [Verdict(score=None, reason="?") if "green" in one.response else Verdict(score=9.0) for one in items]

    made = make_maker(judge=Half()).make(make_asked(0), PICTURE)
    assert made.pairs == () and made.scores == (9.0, None, 9.0, 9.0) and made.reasons == ("judge: ?",)


@pytest.mark.parametrize(("mode", "num"), [("drop", 0), ("text_only", 1)])
def test_a_pair_whose_picture_fails_is_dropped_or_compares_texts_alone(mode, num):
    images = Counting(NEGATIVE_IMAGES.build({"type": "icons"}), fails=["all"])
    made = make_maker(images=images, on_image_failure=mode).make(make_asked(0, TEXTS[:3]), PICTURE)
    assert len(made.pairs) == num and all(pair.image is None for pair in made.pairs)
    assert "render: down" in made.reasons and made.counts["missing_images"] == 1


def test_a_picture_of_one_colour_is_refused_by_its_verifier():
    images = Counting(NEGATIVE_IMAGES.build({"type": "icons"}))
    images.render = lambda items: [Rendered(image=Image.new("RGB", (8, 8))) for _ in items]
    made = make_maker(images=images).make(make_asked(0, TEXTS[:3]), PICTURE)
    assert made.pairs == () and made.reasons == ("verify: one colour",)


def test_what_was_asked_is_not_asked_again_and_comes_back_the_same(tmp_path):
    judge = Counting(JUDGES.build({"type": "object_f1"}))
    options = {"store": ImageStore(tmp_path / "images"), "judge": judge}
    first = make_maker(ledger=Ledger(tmp_path / "ledger.jsonl"), **options).make(make_asked(0), PICTURE)
    asked = judge.items
    again = make_maker(ledger=Ledger(tmp_path / "ledger.jsonl"), **options).make(make_asked(0), PICTURE)
    assert judge.items == asked == len(TEXTS) and again.pairs == first.pairs and again.scores == first.scores


def test_replay_asks_nobody_brings_failures_back_and_refuses_what_was_never_asked(tmp_path):
    path, store = tmp_path / "ledger.jsonl", ImageStore(tmp_path / "images")
    images = Counting(NEGATIVE_IMAGES.build({"type": "icons"}), fails=[2])
    maker = make_maker(ledger=Ledger(path), store=store, images=images)
    first = [maker.make(make_asked(place, TEXTS[:3]), PICTURE) for place in (0, 1)]
    assert [len(one.pairs) for one in first] == [1, 0]
    dead = Counting(JUDGES.build({"type": "object_f1"}), fails=["all"])
    replay = make_maker(ledger=Ledger(path, mode="replay"), store=store, judge=dead)
    replay.check()
    again = [replay.make(make_asked(place, TEXTS[:3]), PICTURE) for place in (0, 1)]
    assert [one.pairs for one in again] == [one.pairs for one in first] and dead.calls == 0
    with pytest.raises(ServiceError, match="holds no judge call"):
        replay.make(make_asked(2, ("a yellow square",)), PICTURE)
    with pytest.raises(ConfigError, match="must have a ledger that was recorded"):
        Ledger(tmp_path / "none.jsonl", mode="replay")


def test_a_budget_ends_the_asking_and_a_larger_one_goes_on(tmp_path):
    path = tmp_path / "ledger.jsonl"
    maker = make_maker(ledger=Ledger(path, max_calls=len(TEXTS) + 2))
    maker.make(make_asked(0, TEXTS), PICTURE)
    with pytest.raises(BudgetSpentError, match="`max_calls` of the ledger is 6"):
        maker.make(make_asked(1, ("a yellow square", "a red square")), PICTURE)
    more = make_maker(ledger=Ledger(path, max_calls=50))
    assert more.make(make_asked(1, ("a yellow square", "a red square")), PICTURE).counts["prompts"] == 1
    ledger = Ledger(max_cost=1.0)
    ledger.note("judge", {}, {"a": 1}, answer=1, cost=1.5)
    with pytest.raises(BudgetSpentError, match=r"`max_cost` of the ledger is 1.0, and 1.5000 is spent"):
        ledger.admit()


def test_stages_overlap_and_outcomes_come_in_the_order_of_their_places():
    judge = Counting(JUDGES.build({"type": "object_f1"}), delay_s=0.02)
    images = Counting(NEGATIVE_IMAGES.build({"type": "icons"}), delay_s=0.05)
    pipeline = Pipeline(make_maker(judge=judge, images=images))
    started = time.monotonic()
    for place in range(8):
        assert pipeline.submit(make_asked(place, TEXTS[:3]), PICTURE)
    made = pipeline.wait_for(range(8), timeout_s=20)
    seconds = time.monotonic() - started
    pipeline.close()
    assert [one.asked.place for one in made] == list(range(8)) and all(one.pairs for one in made)
    assert seconds < 8 * 0.07 + 0.5


def test_waiting_has_an_end_and_nothing_is_lost_by_it():
    judge = Counting(JUDGES.build({"type": "object_f1"}), delay_s=0.4)
    pipeline = Pipeline(make_maker(judge=judge))
    pipeline.submit(make_asked(0, TEXTS[:3]), PICTURE)
    assert pipeline.wait_for([0], timeout_s=0.05) == []
    assert len(pipeline.ready(timeout_s=5)) == 1 and pipeline.ready(timeout_s=5) == []
    pipeline.close()


def test_full_queues_refuse_in_bounded_time():
    judge = Counting(JUDGES.build({"type": "object_f1"}), delay_s=0.5)
    pipeline = Pipeline(make_maker(judge=judge), queue_size=1)
    taken = [pipeline.submit(make_asked(place), PICTURE, timeout_s=0.05) for place in range(4)]
    assert taken[0] and not taken[3]
    pipeline.close()


def test_a_stage_that_breaks_is_told_to_who_asks_next():
    maker = make_maker(ledger=Ledger(max_calls=0))
    pipeline = Pipeline(maker)
    pipeline.submit(make_asked(0), PICTURE)
    with pytest.raises(BudgetSpentError):
        pipeline.wait_for([0], timeout_s=5)
    pipeline.close()


def test_the_spool_is_cut_back_and_written_anew_without_a_double_line(tmp_path):
    outcomes = [make_maker().make(make_asked(place, TEXTS[:3]), PICTURE) for place in range(3)]
    spool = Spool(tmp_path / "spool.jsonl")
    for outcome in outcomes:
        spool.note_outcome(outcome, step=1)
    whole = (tmp_path / "spool.jsonl").read_text()
    again = Spool(tmp_path / "spool.jsonl")
    again.cut_to(2)
    for outcome in outcomes[1:]:
        again.note_outcome(outcome, step=1)
    assert (tmp_path / "spool.jsonl").read_text() == whole
    again.note_trained(outcomes[0].pairs, step=4)
    assert read_spool(tmp_path / "spool.jsonl")[-1] == {
        "schema": 1, "event": "trained", "step": 4, "place": 0, "number": 0, "is_replay": False, "staleness": 4,
    }  # fmt: skip
    with pytest.raises(DataError, match="must hold 99 lines"):
        Spool(tmp_path / "spool.jsonl").cut_to(99)


def test_pairs_of_a_run_are_exported_as_training_data_with_both_pictures(tmp_path):
    maker = make_maker(store=ImageStore(tmp_path / "images"))
    spool = Spool(tmp_path / "spool.jsonl")
    spool.note_outcome(maker.make(make_asked(0, TEXTS[:3]), PICTURE), step=0)
    (row,) = export_pairs(tmp_path)
    assert row["conversations"][0]["value"] == "<image>\nDescribe this image."
    assert (row["chosen"]["value"], row["rejected"]["value"]) == (TEXTS[0], TEXTS[1])
    assert Image.open(row["images"][0]).tobytes() == PICTURE.tobytes() and len(row["images"]) == 2
    with pytest.raises(DataError, match=r"must hold `spool.jsonl`"):
        export_pairs(tmp_path / "images")


def test_a_picture_that_was_changed_on_disk_is_refused(tmp_path):
    store = ImageStore(tmp_path)
    digest = store.put(PICTURE)
    assert store.put(PICTURE.copy()) == digest
    store.path_of(digest).write_bytes(b"else")
    with pytest.raises(DataError, match="does not hold what its name says"):
        store.get(digest)
    assert read_json_lines(tmp_path / "none") == []


def test_the_command_line_writes_what_a_source_reads(tmp_path):
    from vlmzoo.cli.serve_commands import data_online
    from vlmzoo.data.sources import SOURCES

    folder = tmp_path / "online"
    maker = make_maker(store=ImageStore(folder / "images"))
    Spool(folder / "spool.jsonl").note_outcome(maker.make(make_asked(0, TEXTS[:3]), PICTURE), step=0)
    data_online(tmp_path, tmp_path / "pairs.json")
    sample = SOURCES.build({"type": "ovip_pairs", "path": str(tmp_path / "pairs.json")}).sample(0)
    assert sample.rejected == TEXTS[1] and len(sample.negative_images) == 1
