import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from wanctl.errors import ProblemsError
from wanctl.recipe.load import RecipeError, load_recipe, shipped_recipes
from wanctl.recipe.schema import Recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")


def mistakes(name: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, overrides)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_shipped_recipes_load_by_name_and_their_dump_loads_equal(name, folder):
    loaded = load_recipe(name)
    (folder / "again.yaml").write_text(loaded.dump(), encoding="utf-8")
    again = load_recipe("again.yaml")
    assert again.recipe == loaded.recipe.model_copy(update={"base": None})
    assert again.dump() == loaded.dump()
    assert loaded.name == name
    assert loaded.out_dir(None) == Path("runs") / name
    assert loaded.out_dir(Path("x")) == Path("x")


def test_children_merge_mappings_and_replace_the_rest(folder):
    write(
        folder,
        base="seed: 1\nsample: {steps: 9, crf: 20}\ncurate: {filters: {blur: {}, ocr: {}}}\n"
        "caption: {backends: [sidecar, template]}",
        child="base: base.yaml\nsample: {steps: 5}\ncurate: {filters: {blur: {x: 1}}}\n"
        "caption: {backends: [template]}",
    )
    recipe = load_recipe("child.yaml").recipe
    assert (recipe.seed, recipe.sample.steps, recipe.sample.crf) == (1, 5, 20)
    assert recipe.curate.filters == {"blur": {"x": 1}, "ocr": {}}
    assert recipe.caption.backends == ("template",)


def test_set_assigns_last_reads_yaml_and_reaches_into_lists(folder):
    write(folder, r="train_dit: {buckets: [{frames: 1, height: 64, width: 64}]}")
    recipe = load_recipe(
        "r.yaml",
        ["sample.steps=7", "train_dit.buckets.0.frames=5", "curate.filters={blur: {}}",
         "sample.negative_prompt='no'", "train_vae.optimizer.lr=1e-3"],
    ).recipe  # fmt: skip
    assert recipe.sample.steps == 7
    assert recipe.train_dit.buckets[0].frames == 5
    assert recipe.curate.filters == {"blur": {}}
    assert recipe.sample.negative_prompt == "no"
    assert recipe.train_vae.optimizer.lr == 1e-3


def test_set_replaces_a_whole_mapping(folder):
    write(folder, r="curate: {filters: {blur: {}, ocr: {}}}")
    recipe = load_recipe("r.yaml", ["curate.filters={nsfw: {}}"]).recipe
    assert recipe.curate.filters == {"nsfw": {}}


def test_all_mistakes_come_at_once_sorted_with_file_and_line(folder):
    write(
        folder,
        base="train_vae:\n  mixed_precison: bf16\n",
        child="base: base.yaml\nsample:\n  steps: 3.5\n  stepss: 1\nseed: -1\nseed: 2\n",
    )
    assert mistakes("child.yaml", "device=0") == [
        "--set: device: got 0; must be text (put quotes around it)",
        "base.yaml:2: train_vae.mixed_precison: unknown key; did you mean 'mixed_precision'?",
        "child.yaml:3: sample.steps: got 3.5; must be a whole number",
        "child.yaml:4: sample.stepss: unknown key; did you mean 'steps'?",
        "child.yaml:5: seed: got -1; must be greater than or equal to 0",
        "child.yaml:6: seed: duplicate key, first in line 5",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "bad.yaml: holds nothing; a recipe is a mapping of sections"),
        ("- 1", "bad.yaml: holds a list; a recipe is a mapping"),
        ("seed: [", "bad.yaml:1: not YAML"),
        ("base: bad.yaml", "bad.yaml:1: base: a recipe cannot start from itself: bad.yaml -> bad"),
        ("base: tyny", "bad.yaml:1: base: no recipe named 'tyny'; did you mean 'tiny'?"),
        ("base: [a]", "bad.yaml:1: base: got ['a']; must be a recipe's name or file"),
        ("base: no/such.yaml", "bad.yaml:1: base: no/such.yaml: no such file"),
        ("model: 3", "bad.yaml:1: model: got 3; must be a section"),
        ("\nmodels: {}", "bad.yaml:2: models: unknown key; did you mean 'model'?"),
        ("sample: {steps: yes}", "got 'yes'; must be a whole number"),
        ("sample: {noise_device: gpu}", "allowed are 'cpu' or 'cuda'; did you mean 'cpu'?"),
        ("caption: {backends: sidecar}", "got 'sidecar'; must be a list, e.g. [sidecar]"),
        ("train_dit: {buckets: []}", "got []; must hold 1 or more"),
        ("train_dit: {buckets: [{frames: 1}]}", "buckets.0.height: this key is missing"),
        (
            "train_dit: {buckets: [{frames: 16, height: 64, width: 64}]}",
            "bad.yaml:1: train_dit.buckets.0.frames: got 16; must be 4n+1, e.g. 13 or 17",
        ),
    ],
)
def test_a_mistake_gets_a_line_of_its_own(folder, text, expected):
    write(folder, bad=text)
    assert expected in mistakes("bad.yaml")[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiney", "--recipe: no recipe named 'tiney'; did you mean 'tiny'?"),
        (
            "no/such.yaml",
            "--recipe: no/such.yaml: no such file; give a recipe file, or a name that `wanctl",
        ),
        ("sub/", "--recipe: sub/: is a folder"),
    ],
)
def test_a_recipe_that_does_not_exist(folder, name, expected):
    (folder / "sub").mkdir()
    (line,) = mistakes(name)
    assert expected in line


def test_a_file_that_is_not_utf8(folder):
    (folder / "bad.yaml").write_bytes(b"\xff\xfa\x00\x01")
    (line,) = mistakes("bad.yaml")
    assert line.startswith("bad.yaml: cannot be read: not UTF-8 (byte 0xff at 0)")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("foo", "--set: got 'foo'; write a.b=value, e.g. sample.steps=30"),
        ("a..b=1", "--set: got 'a..b=1'; write a.b=value"),
        ("seed.x=1", "--set: seed: is 3, not a section"),
        ("sample.guide=1", "--set: sample.guide: unknown key"),
        ("samples.steps=1", "--set: samples: unknown key; did you mean 'sample'?"),
        ("train_dit.buckets.4.frames=1", "--set: train_dit.buckets.4: no item '4'; the list has 1"),
        ("base=tiny", "--set: base: only a file has a base"),
        ("seed=[1", "--set: seed: not YAML"),
    ],
)
def test_mistakes_in_set(folder, override, expected):
    write(folder, r="seed: 3\ntrain_dit: {buckets: [{frames: 1, height: 64, width: 64}]}")
    assert expected in mistakes("r.yaml", override)[0]


def test_sidecar_dir_is_relative_to_the_recipe_that_sets_it(folder):
    (folder / "shared").mkdir()
    write(folder / "shared", base="caption: {sidecar_dir: texts}\ndataset: {path: data}")
    write(folder, child="base: shared/base.yaml")
    recipe = load_recipe("child.yaml").recipe
    assert recipe.caption.sidecar_dir == folder / "shared" / "texts"
    assert recipe.dataset.path == Path("data")
    moved = load_recipe("child.yaml", ["caption.sidecar_dir=mine"]).recipe
    assert moved.caption.sidecar_dir == folder / "mine"


def test_later_mistakes_are_located(folder):
    write(folder, r="curate:\n  filters:\n    ocr:\n      max: 3\n")
    loaded = load_recipe("r.yaml", ["sample.solver=x"])
    located = loaded.locate(
        ProblemsError(
            [("sample.solver", "s"), ("curate.filters.ocr.max", "m"), ("curate.filters.ocr.y", "n"),
             ("model.variant", "v")]
        )
    )  # fmt: skip
    assert str(located).splitlines() == [
        "--set: sample.solver: s",
        "r.yaml: model.variant: v",
        "r.yaml:3: curate.filters.ocr.y: n",
        "r.yaml:4: curate.filters.ocr.max: m",
    ]


def test_a_file_wins_over_a_shipped_name(folder):
    (folder / "tiny").write_text("seed: 77", encoding="utf-8")
    assert load_recipe("tiny").recipe.seed == 77


def filters_of(name, *overrides):
    return list(load_recipe(name, overrides).recipe.curate.filters)


def test_false_takes_a_filter_of_the_base_out_and_the_others_keep_their_place(folder):
    (folder / "child.yaml").write_text(
        "base: curate-256p\ncurate:\n  filters:\n    ocr: false\n    blur: {max_width: 9}\n"
    )
    before = filters_of("curate-256p")
    assert filters_of("child.yaml") == [name for name in before if name != "ocr"]
    assert load_recipe("child.yaml").recipe.curate.filters["blur"] == {"max_width": 9}
    again = "base: child.yaml\ncurate: {filters: {blur: false, ocr: {}}}\n"
    (folder / "grandchild.yaml").write_text(again)
    assert filters_of("grandchild.yaml") == [
        *(name for name in before if name not in ("ocr", "blur")), "ocr"
    ]  # fmt: skip
    assert filters_of("child.yaml", "curate.filters.motion=false") == [
        name for name in before if name not in ("ocr", "motion")
    ]


def test_a_filter_that_no_base_has_cannot_be_taken_out(folder):
    (folder / "child.yaml").write_text("base: curate-256p\ncurate: {filters: {ocrr: false}}\n")
    (line,) = mistakes("child.yaml")
    assert line.startswith("child.yaml:2: curate.filters.ocrr: false takes out a filter; no filter")
    with pytest.raises(RecipeError, match=r"--set: curate\.filters\.blurr: false takes out"):
        load_recipe("curate-256p", ["curate.filters.blurr=false"])


def test_a_filter_by_which_groups_are_balanced_cannot_be_taken_out(folder):
    with pytest.raises(RecipeError, match=r"curate\.balance\.by: no filter of this recipe"):
        load_recipe("tiny", ["curate.balance={by: motion}", "curate.filters={blur: {}}"])


FIGURES = ("1e-9", "-1e-9", ".inf", "-.inf", ".nan", "1e400", "1e300", "1" + "0" * 400,
           "18446744073709551616", "-9223372036854775809", "true", "[1]", "{a: 1}")  # fmt: skip
# small figures that mean something, on keys that are no rate, size, count or duration
SMALL = re.compile(r"lr|weight_decay|clip_norm|loss|threshold|share|balance|max_|min_|ema|holdout|"
                   r"dropout|gpus|power|momentum|mean|std|shift|scale|boundary|until|cache|probability|"
                   r"per_gb|strength|expand|vertical|known_frames_weight|sparsity|"
                   r"start_s|plateau|train_dit\.vace")  # fmt: skip


def numeric_keys(model, path=()):
    for name, info in model.model_fields.items():
        annotation = str(info.annotation)
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from numeric_keys(inner, (*path, name))
        elif re.search(r"\b(int|float)\b", annotation) and "dict" not in annotation:
            yield ".".join((*path, name))


NUMERIC_KEYS = list(numeric_keys(Recipe))
LISTS = {"sample.levels", "sample.lora_strengths"}  # of any length


@pytest.mark.parametrize("key", NUMERIC_KEYS)
def test_no_numeric_key_takes_a_figure_that_breaks_what_follows(key):
    takes_bool = key == "parallel.fsdp"
    for figure in FIGURES:
        if takes_bool and figure == "true":
            continue
        try:
            load_recipe("tiny", [f"{key}={figure}"])
        except RecipeError as error:
            for line in str(error).splitlines():
                assert line.startswith("--set: "), line
                assert len(line) < 300, line
        else:
            if figure == "[1]" and key in LISTS:
                continue
            assert figure in ("1e-9", "-1e-9"), (key, figure)
            assert SMALL.search(key), (key, figure)


def test_there_are_numeric_keys_in_every_section():
    assert len(NUMERIC_KEYS) > 70
    assert {"seed", "curate.decode.timeout_s", "sample.fps", "export.fps"} <= set(NUMERIC_KEYS)


@pytest.mark.parametrize("figure", [".inf", ".nan", "1e400", "1e300", "1" + "0" * 400])
def test_keys_of_filters_take_no_such_figure_either(figure):
    with pytest.raises(RecipeError, match=r"^--set: curate\.filters\.blur\.max_width: got "):
        load_recipe("curate-256p", [f"curate.filters.blur.max_width={figure}"])


@pytest.mark.parametrize("text", [r"a\0b", r"\x1b[31m", r"\ud800", r"caf\x9b"])
def test_texts_hold_no_control_characters(text):
    with pytest.raises(RecipeError, match=r"dataset\.path: .*(U\+|surrogate|not YAML)"):
        load_recipe("tiny", [f'dataset.path="{text}"'])


def test_a_million_mistakes_are_a_page_of_them(folder):
    text = "".join(f"key{number}: 1\n" for number in range(3000))
    (folder / "many.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("many.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "many.yaml: and 2950 more mistakes"


def test_a_path_of_a_thousand_keys_is_a_mistake():
    with pytest.raises(RecipeError, match=r"write a\.b=value"):
        load_recipe("tiny", [".".join("a" * 5000) + "=1"])
