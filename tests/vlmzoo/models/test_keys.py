"""Key tables can be undone, say what they do not know, and carry every name of the LLaVA family both ways."""

from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vlmzoo import build_model
from vlmzoo.errors import CheckpointError, ConfigError
from vlmzoo.models.keys import KeyTable, RowCut, compare_keys, key_table, key_tables, nearest_layout
from vlmzoo.models.llava.keys import CLIP, TABLES
from vlmzoo.models.native.keys import TABLES as NATIVE_TABLES
from vlmzoo.zoo import list_models, load_card

SEGMENTS = ("a", "b", "0", "07")
KEYS = [".".join(key) for length in (1, 2, 3, 4) for key in product(SEGMENTS, repeat=length)]
patterns = st.lists(st.sampled_from(["a", "b", "0", "07", "{x}", "{y:int}", "{z:path}"]), min_size=1, max_size=4).map(
    ".".join
)
rewritings = st.sampled_from(
    [lambda pattern: f"ours.{pattern}", lambda pattern: f"{pattern}.ours", lambda pattern: pattern]
)


def make_table(**changes):
    return KeyTable(
        **{
            "layout": "theirs",
            "source": "a test",
            "renames": {
                "blocks.{block:int}.{rest:path}": "layers.{block:int}.{rest:path}",
                "head.{part}": "lm_head.{part}",
            },
            "drops": {"blocks.{block:int}.frequencies": "recomputed"},
        }
        | changes
    )


@given(st.lists(st.tuples(patterns, rewritings), min_size=1, max_size=3), st.lists(patterns, max_size=1))
def test_whatever_table_can_be_made_can_be_undone(rules, drops):
    try:
        renames = {pattern: rewrite(pattern) for pattern, rewrite in rules}
        table = make_table(renames=renames, drops=dict.fromkeys(drops, "dropped"))
    except ConfigError:
        assume(False)
    read = {key: table.to_ours(key) for key in KEYS if table.knows(key)}
    kept = {key: ours for key, ours in read.items() if ours is not None}
    assert len(set(kept.values())) == len(kept)
    assert {table.to_theirs(ours): ours for ours in kept.values()} == kept


@given(patterns, patterns)
def test_two_patterns_are_refused_together_exactly_if_a_key_could_match_both(first, second):
    """Four segments of either literal suffice to find a common key of two patterns of at most four segments."""
    assume(first != second)
    try:
        tables = [make_table(renames={pattern: pattern}, drops={}) for pattern in (first, second)]
    except ConfigError:
        assume(False)
    assume(len(first.split(".")) + len(second.split(".")) <= 5)
    is_shared = any(all(table.knows(key) for table in tables) for key in KEYS)
    try:
        make_table(renames={first: first, second: second}, drops={})
    except ConfigError as error:
        assert is_shared, error
    else:
        assert not is_shared


def test_a_key_is_renamed_there_and_back_again():
    table = make_table()
    assert table.to_ours("blocks.12.mlp.weight") == "layers.12.mlp.weight"
    assert table.to_theirs("layers.12.mlp.weight") == "blocks.12.mlp.weight"
    assert table.dict_to_ours({"head.bias": 1, "blocks.0.frequencies": 2}) == {"lm_head.bias": 1}
    assert table.dict_to_theirs({"lm_head.bias": 1}) == {"head.bias": 1}


def test_a_dropped_key_says_why_and_is_never_written():
    table = make_table()
    assert table.to_ours("blocks.0.frequencies") is None
    assert table.reason_to_drop("blocks.0.frequencies") == "recomputed"
    assert table.reason_to_drop("blocks.0.mlp.weight") is None
    with pytest.raises(CheckpointError, match=r"no name for our `layers\.0\.frequencies`"):
        table.to_theirs("layers.0.frequencies")


@pytest.mark.parametrize("key", ["blocks.x.mlp", "blocks.07.mlp", "blocks.1", "head.a.b", "head", "haed.a"])
def test_an_unknown_key_is_answered_with_the_nearest_key(key):
    with pytest.raises(CheckpointError, match=r"`theirs` has no key `.*`\. Did you mean `(blocks|head)\."):
        make_table().to_ours(key)
    with pytest.raises(CheckpointError, match=r"no name for our `layer\.3\.a`\. Did you mean `layers\.3\.a`\?"):
        make_table().to_theirs("layer.3.a")


@pytest.mark.parametrize(
    ("renames", "message"),
    [
        ({"a.{x:path}": "b.{x:path}", "a.b.{y}": "c.{y}"}, "may match `a.{x:path}` or `a.b.{y}`"),
        ({"a.{x}": "c.{x}", "b.{x:int}": "c.{x:int}"}, "may match `c.{x}` or `c.{x:int}`"),
        ({"a.{x}": "b.{y}"}, "must name the same placeholders"),
        ({"a.{x}": "b.{x:int}"}, "must name the same placeholders"),
        ({"a.{x}.{x}": "b.{x}.{x}"}, "must name each placeholder once"),
        ({"a.{x:path}.{y:path}": "b.{x:path}.{y:path}"}, "hold one path at most"),
        ({"a{x}.b": "c.b"}, "must be a whole segment"),
        ({"a..b": "c"}, "must be a whole segment"),
    ],
)
def test_a_table_that_could_not_be_undone_is_refused(renames, message):
    with pytest.raises(ConfigError) as caught:
        make_table(renames=renames)
    assert message in str(caught.value)


def test_rows_are_cut_only_if_the_table_says_exactly_these():
    table = make_table(cuts={"head.weight": RowCut(10, 8, "padding")})
    assert table.cut_of("head.weight", (10, 3), (8, 3)).reason == "padding"
    for key, found, expected in [
        ("head.bias", (10, 3), (8, 3)),
        ("head.weight", (11, 3), (8, 3)),
        ("head.weight", (10, 3), (7, 3)),
        ("head.weight", (10, 3), (8, 4)),
        ("head.weight", (10, 3), (10, 3)),
        ("head.weight", (), (8, 3)),
    ]:
        assert table.cut_of(key, found, expected) is None


def test_of_tables_that_know_equally_much_the_one_that_names_more_of_ours_is_nearest():
    tables = {name: make_table(layout=name, renames={"a.{x}": f"{name}.{{x}}"}) for name in ("first", "second")}
    assert nearest_layout(tables, ["a.b"]).layout == "first"
    assert nearest_layout(tables, ["a.b"], ours=["second.b"]).layout == "second"
    tables["third"] = make_table(layout="third", renames={"b": "b"})
    assert nearest_layout(tables, ["b"], ours=["second.b"]).layout == "third"
    assert [table.names("second.b") for table in tables.values()] == [False, True, False]


def test_a_report_names_each_kind_of_fault_with_the_nearest_key():
    expected = {"layers.0.a": (2,), "layers.0.b": (3, 4), "lm_head.c": (5,)}
    found = {"blocks.0.a": (2,), "blocks.0.b": (4, 3), "head.cc": (5,), "blocks.0.frequencies": (1,)}
    report = compare_keys(expected, [(make_table(), found)])
    assert not report.is_clean
    assert (report.num_matched, report.missing, report.unexpected) == (1, ("head.c",), ("head.cc",))
    assert report.mismatched[0][:] == ("blocks.0.b", (3, 4), (4, 3))
    assert dict(report.dropped) == {"blocks.0.frequencies": "recomputed"}
    text = str(report)
    assert "1 dropped (recomputed): `blocks.0.frequencies`" in text
    assert "`head.cc` Did you mean `head.c`?" in text
    assert text.endswith("1 missing, 1 unexpected, 1 of another shape")
    with pytest.raises(CheckpointError, match=r"lacks `head\.c`; it holds more.*must be \(3, 4\), but is \(4, 3\)"):
        report.require_clean("folder")


def test_a_key_that_two_sources_hold_is_unexpected():
    source = (make_table(), {"head.c": (5,)})
    report = compare_keys({"lm_head.c": (5,)}, [source, source])
    assert report.unexpected == ("head.c",)


def test_one_of_tied_tensors_is_enough_and_none_is_not():
    expected = {"layers.0.table": (5,), "lm_head.weight": (5,)}
    ties = [{"layers.0.table", "lm_head.weight"}]
    assert compare_keys(expected, [(make_table(), {"head.weight": (5,)})], ties=ties).is_clean
    assert len(compare_keys(expected, [(make_table(), {})], ties=ties).missing) == 2


@pytest.fixture(scope="module")
def keys():
    return list(build_model("llava-1.5-7b", device="meta").state_dict())


@pytest.mark.parametrize("layout", TABLES)
def test_every_key_of_llava_has_a_published_name_and_comes_back(layout, keys):
    table = TABLES[layout]
    with_adapters = {"lisa": "lisa-7b-v1", "seal_vsm": "seal-vsm-7b", "seal_vqa": "seal-vqa-7b"}
    if layout in with_adapters:  # which names an adapter, too
        keys = list(build_model(with_adapters[layout], device="meta").state_dict())
    published = table.dict_to_theirs(dict.fromkeys(keys))
    assert len(published) == len(keys) > 600
    assert [table.to_ours(key) for key in published] == keys
    assert nearest_layout(TABLES, published) is table


def test_the_encoder_alone_has_the_names_of_clip(keys):
    encoder = [key for key in keys if key.startswith("encoder.")]
    assert [CLIP.to_ours(CLIP.to_theirs(key)) for key in encoder] == encoder


@pytest.mark.parametrize("name", list_models())
def test_the_layout_of_every_card_is_a_table_of_its_family_and_names_all_of_its_model(name):
    card = load_card(name)
    model = build_model(card.miniature(), adapters=card.tiny_adapters, device="meta")
    tables = key_tables(model)
    published = key_table(model, card.weights.layout).dict_to_theirs(model.state_dict())
    assert tables[card.weights.layout].dict_to_ours(published).keys() == model.state_dict().keys()
    assert nearest_layout(tables, published).layout == card.weights.layout


@pytest.mark.parametrize("tables", [TABLES, NATIVE_TABLES], ids=["llava", "native"])
def test_every_table_is_listed_under_its_own_name(tables):
    assert [table.layout for table in tables.values()] == list(tables)


@pytest.mark.parametrize("table", TABLES.values(), ids=list(TABLES))
def test_every_cut_is_of_a_key_that_the_layout_knows(table):
    assert all(table.to_ours(key) is not None for key in table.cuts)
