"""The table of bad inputs: name -> arguments and a part of the one line that they give."""

TINY = ["--recipe", "tiny"]
SAMPLE = ["sample", "a cat", *TINY]
CURATE = ["curate", "footage", *TINY]


def _set(*assignments: str) -> list[str]:
    return [part for each in assignments for part in ("--set", each)]


NO_FILTERS = _set("curate.filters={}", "curate.split.detector=none")

GRAMMAR = {
    "no such command": (["smaple"], "No such command 'smaple'"),
    "no such group command": (["data", "exprot"], "No such command 'exprot'"),
    "no such option": (["sample", "x", "--recip", "tiny"], "No such option: --recip"),
    "no such global option": (["--fast", "doctor"], "No such option: --fast"),
    "no folder": (["curate"], "Missing argument 'FOLDER'"),
    "no prompt": (["sample"], "Missing argument 'PROMPT'"),
    "no destination": (["data", "export"], "Missing argument 'TO'"),
    "no source": (["weights", "inspect"], "Missing argument 'FROM'"),
    "no layout": (["weights", "convert", "weights", "x"], "Missing option '--layout'"),
    "no filter": (["filters", "label"], "Missing argument 'FILTER'"),
    "too many arguments": (["caption", "tiny"], "unexpected extra argument"),
    "option without value": (["caption", "--recipe"], "--recipe"),
    "set without value": (["caption", *TINY, "--set"], "--set"),
    "repeat is no number": ([*SAMPLE, "--repeat", "many"], "--repeat"),
    "repeat is a fraction": ([*SAMPLE, "--repeat", "1.5"], "--repeat"),
    "repeat is zero": ([*SAMPLE, "--repeat", "0"], "--repeat: got 0; must be 1 to 10000"),
    "repeat is negative": ([*SAMPLE, "--repeat", "-3"], "--repeat: got -3"),
    "repeat is huge": ([*SAMPLE, "--repeat", "99999999999"], "--repeat: got 99999999999"),
    "each is zero": (["filters", "label", "quality", *TINY, "--each", "0"], "--each"),
    "bytes in the prompt": (["sample", "caf\udce9", *TINY], "byte 0xe9 at character 4 is not"),
    "bytes in a folder": (["curate", "caf\udce9", *TINY], "argument 2 (caf\\udce9): byte 0xe9"),
    "bytes in a recipe": (["caption", "--recipe", "\udcff.yaml"], "byte 0xff"),
    "bytes in a set": ([*SAMPLE, *_set("dataset.license=\udcff")], "byte 0xff"),
    "bytes in out": ([*SAMPLE, "--out", "r\udc80"], "byte 0x80"),
}
RECIPE_FILES = {
    f"recipe {name}": (["recipe", "check", f"{name}.yaml"], part)
    for name, part in {
        "nowhere": "nowhere.yaml: no such file; give a recipe file or one of",
        "folder": "folder.yaml: is a folder; give a recipe file",
        "empty": "empty.yaml: holds nothing",
        "comment": "comment.yaml: holds nothing",
        "list": "list.yaml: holds a list; a recipe is a mapping",
        "text": "text.yaml: holds a str",
        "binary": "binary.yaml: cannot be read: not UTF-8",
        "latin1": "latin1.yaml: cannot be read: not UTF-8 (byte 0xe9 at 22)",
        "half16": "half16.yaml: cannot be read: begins as UTF-16 and is damaged",
        "tab": "tab.yaml:2: not YAML",
        "colon": "colon.yaml:1: not YAML",
        "twice": "twice.yaml:2: seed: duplicate key, first in line 1",
        "unclosed": "unclosed.yaml:2: not YAML",
        "two": "two.yaml:2: not YAML",
        "laughs": "more than 20000 values",
        "many": "many.yaml:10000: not YAML: more than 20000 values",
        "deep": "nested too deeply: more than 50 levels",
        "object": "is not allowed",
        "alias": "undefined alias",
        "nokey": "a key must be a name",
        "section": "section.yaml:1: sampel: unknown key; did you mean 'sample'?",
        "key": "key.yaml:1: sample.stepss: unknown key; did you mean 'steps'?",
        "value": "value.yaml:1: sample.steps: got 'many'; must be a whole number",
        "nobase": "nobase.yaml:1: base: nowhere.yaml: no such file",
        "numberbase": "numberbase.yaml:1: base: got 7; must be a recipe's name or file",
        "selfbase": "a recipe cannot start from itself: selfbase.yaml -> selfbase.yaml",
        "circle": "circle.yaml -> circle2.yaml -> circle.yaml",
        "nofilter": "nofilter.yaml:2: curate.filters.ocrr: no filter named 'ocrr'",
        "remove": "remove.yaml:2: curate.filters.ocrr: false takes out a filter; no filter of",
        "filterkey": "filterkey.yaml:2: curate.filters.blur.max_with: no key named 'max_with'",
        "control": "control.yaml:1: dataset.license: got 'a\\\\x07b'; holds the control character",
        "traversal": "traversal.yaml:1: dataset.selection: ",
        "variant": "variant.yaml:1: model.variant: no variant named 'wan9'",
        "null": "null.yaml:1: sample: got nothing; must be a section",
        "digits": "has too many digits",
    }.items()
}
SETTINGS = {
    f"set {text[:60]}": ([*command, *_set(text)], part)
    for command, text, part in (
        (SAMPLE, "x", "--set: got 'x'; write a.b=value"),
        (SAMPLE, "=3", "--set: got '=3'; write a.b=value"),
        (SAMPLE, "a..b=3", "--set: got 'a..b=3'; write a.b=value"),
        (SAMPLE, "base=tiny", "--set: base: only a file has a base"),
        (SAMPLE, "sampel.steps=3", "--set: sampel: unknown key; did you mean 'sample'?"),
        (SAMPLE, "sample.steps.more=3", "not a section; nothing can be set inside it"),
        (SAMPLE, "train_dit.buckets.9.frames=1", "no item '9'; the list has 1, counted from 0"),
        (SAMPLE, "sample={", "--set: sample: not YAML"),
        (SAMPLE, "sample.steps=0", "--set: sample.steps: got 0; must be greater than 0"),
        (SAMPLE, "sample.steps=-1", "--set: sample.steps: got -1; must be greater than 0"),
        (SAMPLE, "sample.steps=1.5", "--set: sample.steps: got 1.5; must be a whole number"),
        (SAMPLE, "sample.steps=many", "--set: sample.steps: got 'many'; must be a whole number"),
        (SAMPLE, "sample.steps=true", "--set: sample.steps: got true; must be a number"),
        (SAMPLE, "sample.steps=[3]", "--set: sample.steps: got [3]; must be a whole number"),
        (SAMPLE, "sample.steps=100001", "must be less than or equal to 10000"),
        (SAMPLE, "sample.height=65", "--set: sample.height: got 65; must be a multiple of 16"),
        (SAMPLE, "sample.width=160000", "must be less than or equal to 16384"),
        (SAMPLE, "sample.frames=16", "--set: sample.frames: got 16; must be 4n+1"),
        (SAMPLE, "sample.fps=1e-9", "--set: sample.fps: got 1e-09; must be greater than or equal"),
        (SAMPLE, "sample.fps=.inf", "--set: sample.fps: got inf; must be a finite number"),
        (SAMPLE, "sample.fps=.nan", "--set: sample.fps: got nan; must be a finite number"),
        (SAMPLE, f"sample.fps=1{'0' * 400}", "--set: sample.fps: got a whole number beyond 64"),
        (SAMPLE, "sample.seed=18446744073709551616", "sample.seed: got a whole number beyond 64"),
        (SAMPLE, "sample.seed=-9223372036854775809", "sample.seed: got a whole number beyond 64"),
        (SAMPLE, "sample.seed=1.5", "--set: sample.seed: got 1.5; must be a whole number"),
        (SAMPLE, "sample.seed=1e30", "--set: sample.seed: got 1e+30; must be"),
        (SAMPLE, "sample.crf=52", "--set: sample.crf: got 52; must be less than or equal to 51"),
        (SAMPLE, "sample.guide_scale=-1", "--set: sample.guide_scale: got -1; must be a number"),
        (SAMPLE, "sample.guide_scale=[1,2,3]", "sample.guide_scale: got [1, 2, 3]; must be"),
        (SAMPLE, "sample.guide_scale=[1,2]", "guide_scale: got two for tiny"),
        (SAMPLE, "sample.boundary=0.5", "boundary: tiny is one transformer"),
        (SAMPLE, "sample.solver=unipcc", "no solver named 'unipcc'; did you mean 'unipc'?"),
        (SAMPLE, "sample.task=t2w", "no task named 't2w'; did you mean 't2v'?"),
        (SAMPLE, "sample.shift=1e12", "sample.shift: got 1000000000000.0; it crowds 30 steps"),
        (SAMPLE, "sample.shift=1e-9", "sample.shift: got 1e-09; must be greater than or equal"),
        (SAMPLE, "sample.fit=both", "sample.fit: got 'both'; allowed are 'area' or 'exact'"),
        (SAMPLE, "sample.noise_device=tpu", "sample.noise_device: got 'tpu'; allowed are"),
        (SAMPLE, "sample.vace.control=gray", "no control named 'gray'; did you mean 'grey'?"),
        (SAMPLE, "sample.vace.outpaint=[1]", "sample.vace.outpaint: got [1]; must hold 4 items"),
        (SAMPLE, "sample.image=nowhere.png", "sample.image: nowhere.png: no such file"),
        (SAMPLE, "sample.image=empty", "sample.image: empty: is a folder; need a file"),
        (SAMPLE, "sample.image=broken.png", "sample.image: broken.png"),
        (SAMPLE, "sample.image=noise.png", "sample.image: noise.png"),
        (SAMPLE, "sample.image=empty.png", "sample.image: empty.png"),
        (SAMPLE, "sample.image=ftpx://host/a.png", "sample.image: ftpx://host/a.png"),
        (SAMPLE, "sample.video=broken.mp4", "sample.video: broken.mp4"),
        (SAMPLE, "sample.video=noise.mp4", "sample.video: noise.mp4"),
        (SAMPLE, "sample.known_frames={a: b.png}", "sample.known_frames.a: got 'a'; must be a"),
        (SAMPLE, "sample.references=x.png", "sample.references: got 'x.png'; must be a list"),
        (SAMPLE, "device=tpu", "--set: device: got 'tpu'; allowed are auto, cpu, cuda, cuda:N"),
        (SAMPLE, "device=cuda:99", "device: got 'cuda:99', but this machine has"),
        (SAMPLE, "parallel.ulysses=0", "parallel.ulysses: got 0; must be auto, or a number"),
        (SAMPLE, "parallel.fsdp=maybe", "parallel.fsdp: got 'maybe'; must be auto, true or"),
        (SAMPLE, "model.variant=tinny", "no variant named 'tinny'; did you mean 'tiny'?"),
        (SAMPLE, "model.dtype=fp4", "model.dtype: got 'fp4'; allowed are"),
        (SAMPLE, "model.attention=flush", "no kernel named 'flush'; did you mean 'flash'?"),
        (SAMPLE, "model.quantize=int4", "model.quantize: got 'int4'; allowed are"),
        (SAMPLE, "model.vae_tile=7", "model.vae_tile: got 7; must be a multiple of"),
        (SAMPLE, "model.loras=[{}]", "model.loras.0.path: this key is missing"),
        (SAMPLE, "model.loras=[{path: a, strength: 1e9}]", "model.loras.0.strength: got"),
        (SAMPLE, "model.weights=nowhere", "weights: no file or folder 'nowhere' in"),
        (SAMPLE, "model.weights=empty", "empty: holds no weights known here"),
        (SAMPLE, "model.weights=words.txt", "words.txt: "),
        (["train-vae", *TINY], "train_vae.buckets.0.frames=16", "got 16; must be 4n+1"),
        (["train-vae", *TINY], "train_vae.buckets=[]", "train_vae.buckets: got []; must hold 1"),
        (["train-vae", *TINY], "train_vae.optimizer.lr=0", "got 0; must be greater than 0"),
        (["train-vae", *TINY], "train_vae.optimizer.betas=[0.9]", "betas: got [0.9]; must hold 2"),
        (["train-vae", *TINY], "train_vae.holdout=1", "train_vae.holdout: got 1; must be less"),
        (["train-vae", *TINY], "model.vae_width=0", "model.vae_width: got 0; must be greater"),
        (["train-vae", *TINY], "model.latent_channels=4.5", "model.latent_channels: got 4.5"),
        (["train-vae", *TINY], "train_vae.trained=[]", "train_vae.trained: got []; must hold 1"),
        (["train-vae", *TINY], "train_vae.trained=decodr", "has no part 'decodr'; near are decode"),
        (
            ["train-vae", *TINY],
            "train_vae.trained=[encoder, decoder.upsample.3]",
            "--set: train_vae.trained.1: the VAE has no part 'decoder.upsample.3'; near are",
        ),
        (
            ["train-vae", *TINY],
            "model.vae_weights=weights/umt5.safetensors",
            "model.vae_weights: weights/umt5.safetensors holds no VAE; name a folder or file",
        ),
        (
            ["train-vae", *TINY],
            "model.vae_weights=runs/stage1/vae",
            "runs/stage1/vae does not exist; `wanctl train-vae --recipe stage1` makes one",
        ),
        (["train-dit", *TINY], "train_dit.timesteps.law=normal", "no law named 'normal'"),
        (["train-dit", *TINY], "train_dit.trackers=[wandbb]", "no tracker named 'wandbb'"),
        (["train-dit", *TINY], "seed=-1", "--set: seed: got -1; must be greater than or equal"),
        (CURATE, "curate.engine=spark", "no engine named 'spark'"),
        (CURATE, "curate.split.detector=transnet", "no detector named 'transnet'"),
        (CURATE, "curate.decode.timeout_s=1e300", "curate.decode.timeout_s: got 1e+300; must be"),
        (CURATE, "curate.decode.workers=0", "curate.decode.workers: got 0; must be greater"),
        (CURATE, "curate.decode.workers=1000000", "must be less than or equal to 1024"),
        (CURATE, "curate.decode.memory_gb=-4", "curate.decode.memory_gb: got -4; must be"),
        (CURATE, "curate.filters.blur.max_width=.nan", "blur.max_width: got nan; must be a finite"),
        (CURATE, "curate.filters.blur.max_width=wide", "curate.filters.blur.max_width: "),
        (CURATE, "curate.filters=[blur]", "curate.filters: got ['blur']; must be a section"),
        (CURATE, "curate.balance={by: motions}", "no filter of this recipe named 'motions'"),
        (CURATE, "dataset.selection=../x", "dataset.selection: "),
        (CURATE, "dataset.selection=", "dataset.selection: "),
        (["caption", *TINY], "caption.backends=[sidecart]", "no caption backend named 'sidecart'"),
        (["caption", *TINY], "caption.quote_text=add", "caption.quote_text: got 'add'; allowed"),
        (["data", "export", "to", *TINY], "export.layout=zip", "no layout named 'zip'"),
        (["data", "export", "to", *TINY], "export.height=64", "set both height and width"),
        (["data", "export", "to", *TINY], "export.fps=0", "export.fps: got 0; must be greater"),
        (["data", "text-images", "to", *TINY], "text_images.languages=[fr]", "got 'fr'; allowed"),
        (["data", "text-images", "to", *TINY], "text_images.max_lines=1000000", "less than or"),
    )
}
PROMPT_FILES = {
    f"prompts {name}": (["sample", name, *TINY], part)
    for name, part in {
        "": "prompt: got an empty text; say what to show",
        " \t\n": "prompt: got an empty text",
        "\u200b": "prompt: got an empty text",
        "a\x1b[31m cat": "holds the control character U+001B at character 2; take it out",
        "nowhere.txt": "nowhere.txt: no such file of prompts; put a blank at the end if it is",
        "NOWHERE.TXT": "NOWHERE.TXT: no such file of prompts",
        "a cat/reads notes.txt": "a cat/reads notes.txt: no such file of prompts; put a blank",
        "~nobody-at-all/x.txt": "no such file of prompts",
        "folder.txt": "folder.txt: is a folder; need a text file",
        "pipe.txt": "pipe.txt: is a pipe, a socket or a device",
        "dangling.txt": "dangling.txt: no such file of prompts",
        "empty/": "empty/: is a folder, and a file of prompts ends in",
        "blank.txt": "blank.txt: holds no prompt; need one per line",
        "latin1.txt": "latin1.txt: not UTF-8 (byte 0xe9 at 6); in Windows-1252 it reads",
        "binary.txt": "binary.txt: not UTF-8",
        "control.txt": "control.txt:2: prompt: red\\x1b[31m fox: holds the control character",
        "nul.txt": "nul.txt:1: prompt: a\\x00cat: holds the control character U+0000",
        "bad.jsonl": "bad.jsonl:1: not JSON",
        "list.jsonl": 'list.jsonl:1: got ["a cat"]; need an object',
        "noprompt.jsonl": "noprompt.jsonl:1: got None; every line needs a prompt",
        "emptyprompt.jsonl": "emptyprompt.jsonl:1: got '  '; every line needs a prompt",
        "number.jsonl": "number.jsonl:1: got 7; every line needs a prompt",
        "key.jsonl": "key.jsonl:1: sead: no key named 'sead'; did you mean 'seed'?",
        "twice.jsonl": "twice.jsonl:1: not JSON: the key 'seed' stands there twice",
        "value.jsonl": "value.jsonl:1: steps: got 'many'; must be a whole number",
        "seed.jsonl": "seed.jsonl:1: seed: got a whole number beyond 64 bits",
        "float.jsonl": "float.jsonl:1: seed: got 1.5; must be a whole number",
        "nan.jsonl": "nan.jsonl:1: guide_scale: got nan; must be a finite number",
        "size.jsonl": "size.jsonl:1: size: got 'huge'; need width x height",
        "run.jsonl": "run.jsonl:1: grid: holds for the whole run",
        "deep.jsonl": "deep.jsonl:1: not JSON",
        "half.jsonl": "half.jsonl:1: prompt: a \\ud800 b: holds the control character U+D800",
        "image.jsonl": "image.jsonl:1: sample.image: nowhere.png: no such file",
        "noheader.csv": "noheader.csv:1: the header has no column `prompt`",
        "wide.csv": "wide.csv:2: 3 cells under a header of 2",
        "quote.csv": "quote.csv:2: not CSV",
        "twice.csv": "twice.csv:1: the header has the column 'seed' twice",
        "cell.csv": "cell.csv:2: guide_scale: got [3; not YAML",
        "none.csv": "none.csv:1: the header has no column `prompt`",
        "prompts.json": "prompts.json: is a file, and a file of prompts ends in .txt, .jsonl",
        "prompts.yaml": "prompts.yaml: is a file, and a file of prompts ends in",
    }.items()
}
CURATION = {
    "footage is nowhere": (["curate", "nowhere", *TINY, *NO_FILTERS], "nowhere: "),
    "footage is a file": (["curate", "words.txt", *TINY, *NO_FILTERS], "words.txt: "),
    "footage is empty": (["curate", "empty", *TINY, *NO_FILTERS], "empty: "),
    "footage is texts": (["curate", "texts", *TINY, *NO_FILTERS], "texts: "),
    "footage is a name": (["curate", "", *TINY, *NO_FILTERS], "the folder of footage: got ''"),
    "footage is a circle": (["curate", "circular", *TINY, *NO_FILTERS], "circular: "),
    "footage on no server": (["curate", "ftpx://host/x", *TINY, *NO_FILTERS], "ftpx://host/x"),
    "footage in no bucket": (["curate", "s3://", *TINY, *NO_FILTERS], "s3:"),
    "no recipe": (["curate", "footage"], "wanctl curate: no recipe; name one with --recipe"),
    "out is a file": ([*CURATE, *NO_FILTERS, "--out", "file"], "file"),
    "out is below a file": ([*CURATE, *NO_FILTERS, "--out", "file/run"], "file/run"),
    "out is a device": ([*CURATE, *NO_FILTERS, "--out", "/dev/full"], "/dev/full"),
    "out cannot be made": ([*CURATE, *NO_FILTERS, "--out", "/proc/run"], "/proc/run"),
    "out has too long a name": ([*CURATE, *NO_FILTERS, "--out", "x" * 300], "File name too long"),
    "out is a circle": ([*CURATE, *NO_FILTERS, "--out", "circular"], "circular"),
    "data set is damaged": ([*CURATE, *NO_FILTERS, "--out", "damaged"], "dataset.json: "),
    "data set is a list": ([*CURATE, *NO_FILTERS, "--out", "listset"], "dataset.json: "),
    "data set of the future": ([*CURATE, *NO_FILTERS, "--out", "future"], "format 99, but this"),
    "data set of another": ([*CURATE, *NO_FILTERS, "--out", "foreign"], "holds no dataset.json"),
    **{
        f"shard {text}": ([*CURATE, *NO_FILTERS, "--shard", text], "--shard: ")
        for text in ("", "1", "a/b", "1/0", "4/4", "-1/4", "1/-4", "1/2/3", "0.5/2", "٣/٤")
    },
    "sidecars are nowhere": (
        ["caption", *TINY, *_set("caption.sidecar_dir=nowhere")], "nowhere: no such folder",
    ),
    **{
        f"{' '.join(command)}, {where}": ([*command, *TINY, *extra, "--out", where], part)
        for command, extra in (
            (["caption"], _set("caption.sidecar_dir=null")),
            (["data", "select"], NO_FILTERS),
            (["data", "report"], NO_FILTERS),
            (["data", "export", "to"], []),
            (["data", "check"], []),
            (["train-vae"], []),
            (["train-dit"], []),
            (["filters", "label", "quality"], []),
        )
        for where, part in (
            ("nowhere", "nowhere/dataset: no data set there"),
            ("file", "file/"),
            ("damaged", "dataset.json: "),
            ("future", "format 99, but this"),
        )
    },
    "check nowhere": (["data", "check", "nowhere", *TINY], "nowhere"),
    "check an empty folder": (["data", "check", "empty", *TINY], "empty"),
    "check a text": (["data", "check", "words.txt", *TINY], "words.txt"),
    **{
        f"check {name}": (["data", "check", f"layouts/{name}", *TINY], f"layouts/{name}")
        for name in ("bad.jsonl", "index.csv", "index.json", "index.toml", "index.parquet",
                     "index.tar")
    },
    "export to no layout": (
        ["data", "export", "to", *TINY, "--layout", "zip"], "--layout: no layout named 'zip'",
    ),
    "text images into a file": (["data", "text-images", "file", *TINY], "file"),
    "text images with no fonts": (
        ["data", "text-images", "to", *TINY, *_set("text_images.fonts=empty")],
        "no font for 'zh' among 0; set text_images.fonts",
    ),
    "text images with no corpus": (
        ["data", "text-images", "to", *TINY, *_set("text_images.corpus=[nowhere.txt]")],
        "nowhere.txt",
    ),
    "text images with a binary corpus": (
        ["data", "text-images", "to", *TINY, *_set("text_images.corpus=[binary.txt]")],
        "binary.txt",
    ),
    "no such filter": (["filters", "label", "qualty", *TINY], "no data set there"),
    "fit without a data set": (["filters", "fit", "quality", "words.txt", *TINY], "no data set"),
    "bench of nothing": (["filters", "bench", "blurr", "--out", "b"], "'blurr'; did you mean"),
    "bench in no place": (["filters", "bench", "border", "--out", "/proc/1/x"], "/proc/1/x"),
    "bench with no clips": (["filters", "bench", "blur", "--clips", "nowhere"], "nowhere"),
    "bench with no footage": (["filters", "bench", "blur", "--clips", "texts"], "texts"),
    "bench of no set": (["filters", "bench", "--set", "x"], "--set"),
    "bench of an unknown set": (["filters", "bench", "--set", "x=empty"], "--set"),
    "bench of a set nowhere": (["filters", "bench", "--set", "bbc=nowhere"], "nowhere"),
}  # fmt: skip
WEIGHTS = {
    **{
        f"{command} {name}": (["weights", command, name], part)
        for command in ("inspect", "check")
        for name, part in {
            "nowhere": "no file or folder 'nowhere'",
            "": "Invalid value for 'FROM': got ''; name a file or folder",
            "empty": "empty: holds no weights known here",
            "file": "file: ",
            "words.txt": "words.txt: ",
            "good.png": "good.png: ",
            "config": "config",
            "folder.safetensors": "folder.safetensors: ",
            **{
                f"weights/{each}.safetensors": f"{each}.safetensors"
                for each in ("none", "unknown", "short", "offsets", "header", "nojson", "tiny",
                             "zero", "page", "pointer")
            },
            "weights/pickle.pth": "pickle.pth",
            "weights/text.pt": "text.pt",
        }.items()
    },
    "convert nowhere": (["weights", "convert", "nowhere", "to", "--layout", "official"], "nowhere"),
    "convert to no layout": (
        ["weights", "convert", "empty", "to", "--layout", "offical"], "did you mean 'official'?",
    ),
    "convert to no format": (
        ["weights", "convert", "empty", "to", "--layout", "single", "--dtype", "fp4"], "fp4",
    ),
    **{
        f"convert in shards of {size}": (
            ["weights", "convert", "empty", "to", "--layout", "official", "--max-shard-size", size],
            "--max-shard-size: ",
        )
        for size in ("", "big", "-1GB", "0", "5XB", "1e400GB", "nanGB")
    },
    "convert no part": (
        ["weights", "convert", "empty", "to", "--layout", "official", "--part", "vee"], "vee",
    ),
}  # fmt: skip
NAMES = {
    "line break in a folder": (["curate", "a\nb", *TINY, *NO_FILTERS], "a\\nb: does not exist"),
    "line break in a recipe": (["recipe", "check", "a\nb.yaml"], "a\\nb.yaml: no such file"),
    "line break in prompts": (["sample", "./a\nb.txt", *TINY], "./a\\nb.txt: no such file"),
    "line break in weights": (["weights", "inspect", "a\nb"], "a\\nb"),
    "line break in out": (["data", "check", *TINY, "--out", "a\nb"], "a\\nb/dataset: no data set"),
    "escapes in a folder": (["curate", "\x1b[2J", *TINY, *NO_FILTERS], "\\x1b[2J: does not exist"),
    "escapes in a command": (["\x1b[31m"], "No such command"),
    "U+2028 in a set": ([*SAMPLE, *_set("a\u2028b=1")], "a\\u2028b: unknown key"),
}
LOOKING = {
    "runs nowhere": (["runs", "nowhere"], "nowhere: no such folder; name a folder with"),
    "runs of a file": (["runs", "file"], "file: is a file; name a folder with"),
    "runs of nothing": (["runs", "empty"], "empty: holds no run folder and no data set"),
    "runs in no folder": (["runs", ""], "'[FOLDER]': got ''"),
    "runs behind a URL": (["runs", "s3://bucket"], "got a URL"),
    "dry run nowhere": ([*CURATE, "--dry-run", *NO_FILTERS, "--out", "damaged"], "dataset.json: "),
    "dry run of texts": (["curate", "texts", *TINY, "--dry-run", *NO_FILTERS], "texts: "),
    "list with an argument": (["filters", "list", "blur"], "unexpected extra argument"),
    "doctor with an argument": (["doctor", "me"], "unexpected extra argument"),
}
CHECK = ["data", "check", "footage", *TINY, "--csv"]
OUTPUT = {
    "rows into a folder": ([*CHECK, "empty"], "'--csv': empty: is a folder; name a file"),
    "rows into a device": ([*CHECK, "/dev/full"], "'--csv': /dev/full: is a pipe or a device"),
    "rows below a file": ([*CHECK, "file/x.csv"], "'--csv': file/x.csv: file is a file; name"),
}
TABLE = {
    **GRAMMAR, **RECIPE_FILES, **SETTINGS, **PROMPT_FILES, **CURATION, **WEIGHTS, **NAMES,
    **LOOKING, **OUTPUT,
}  # fmt: skip
