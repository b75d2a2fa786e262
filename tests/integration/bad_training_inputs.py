"""Mistakes in training that show before a data set is opened: settings, names and weights.

Name -> arguments and a part of the one line that they give, as in bad_inputs.py.
"""

VAE = ["train-vae", "--recipe", "tiny"]
DIT = ["train-dit", "--recipe", "tiny"]
PLAIN = ["train-vae", "--recipe", "wan2.1-t2v-1.3b"]
FINETUNE = ["train-vae", "--recipe", "vae-finetune"]
LORA = ["train-dit", "--recipe", "wan2.1-t2v-1.3b-lora"]
A14B = ["train-dit", "--recipe", "wan2.2-t2v-a14b-lora"]
SKYREELS = ["train-dit", "--recipe", "skyreels-v2-df-1.3b"]
VACE = ["train-dit", "--recipe", "wan2.1-vace-1.3b-adapter"]
GAN = "train_vae.loss.adversarial"


def _cases(start: str, rows: list[tuple[list[str], str, str]]) -> dict[str, tuple[list[str], str]]:
    return {
        f"{start} {command[0]} {settings[:60]}": (
            [*command, *(part for each in settings.split("; ") for part in ("--set", each))],
            expected,
        )
        for command, settings, expected in rows
    }


NAMES = _cases(
    "name",
    [
        (DIT, "train_dit.timesteps.law=logitnormal", "did you mean 'logit_normal'?"),
        (DIT, "train_dit.optimizer.name=adam", "no optimizer named 'adam'; did you mean 'adamw'?"),
        (VAE, "train_vae.optimizer.name=moun", "did you mean 'muon'?"),
        (
            VAE,
            f"{GAN}={{weight: 1, optimizer: {{name: moun}}}}",
            f"{GAN}.optimizer.name: no optimizer named 'moun'",
        ),
        (DIT, "train_dit.trackers=[tensorbord]", "did you mean 'tensorboard'?"),
        (DIT, "model.variant=wan2.1-t2v-1.3", "did you mean 'wan2.1-t2v-1.3b'?"),
        (
            SKYREELS,
            "train_dit.tasks={t2v: 1}",
            "tasks.t2v: skyreels-v2-df-1.3b cannot do it: it reads",
        ),
        (DIT, "train_dit.tasks.camera=1", "is only sampled, not trained; tasks that are trained:"),
        (DIT, "train_dit.step=3", "train_dit.step: unknown key; did you mean 'steps'?"),
        (DIT, "train_dit.adapter={kind: lorra}", "got 'lorra'; allowed are 'lora'"),
        (DIT, "train_dit.adapter={targets: [self_atn]}", "no linear layer; near are self_attn"),
        (DIT, "train_dit.adapter={layout: comfy}", "did you mean 'comfyui'?"),
        (DIT, "train_dit.trained=[heads]", "train_dit.trained.0: got 'heads', which matches no"),
        (VAE, "train_vae.network=tinydecoder", "did you mean 'tiny_decoder'?"),
        (VAE, "train_vae.trained=decodr", "no part 'decodr'; near are decoder"),
        (VAE, "train_vae.trained=[decoder,head]", "train_vae.trained.1: the VAE has no part"),
        (VAE, "train_vae.loss.perceptual_frames=3", "this key has moved; write `perceptual:"),
        (DIT, "train_dit.preview_decoder=taehv", "train_dit.preview_decoder: got 'taehv'"),
        (VAE, "train_vae.loss.kl={weight: 1, reduction: sum}", "reduction: got 'sum'"),
        (DIT, "train_dit.tasks={t3v: 1}", "no task named 't3v'; did you mean 't2v'?"),
        (DIT, "train_dit.timesteps.shift_formula=sqrt", "no formula named 'sqrt'"),
        (DIT, "train_dit.timesteps.weighting=minsnr", "did you mean 'min_snr'?"),
        (DIT, "train_dit.timesteps.bucket_shifts={17x64x65: 3}", "no bucket named '17x64x65'"),
        (DIT, "train_dit.optimizer.decay=cosin", "did you mean 'cosine'?"),
        (DIT, "train_dit.adapter={kind: lokr}", "got 'lokr'; allowed are 'lora', 'rslora' or"),
        (DIT, "train_dit.adapter={base: fp4}", "adapter.base: got 'fp4'"),
        (DIT, "train_dit.adapter={layout: a1111}", "adapter.layout: got 'a1111'"),
        (DIT, "train_dit.memory.checkpointing=ful", "did you mean 'full'?"),
        (VACE, "train_dit.vace.kinds={depth: 1}", "kinds.depth: unknown key; there are"),
        (A14B, "train_dit.experts=middle", "allowed are 'both', 'high' or 'low'"),
        (LORA, "train_dit.adapter.targets=[blocks.99.ffn]", "which matches no linear layer; near"),
        (DIT, "train_dit.cache=ram", "allowed are 'disk' or 'none'"),
        (DIT, "train_dit.memory.checkpointing=blocks", "allowed are 'none', 'pointwise'"),
        (DIT, "train_dit.holdout_by=file", "allowed are 'auto', 'source' or 'clip'"),
    ],
)
VALUES = _cases(
    "value",
    [
        (DIT, "train_dit.steps=0", "must be greater than 0"),
        (DIT, "train_dit.optimizer.lr=0", "must be greater than 0"),
        (DIT, "train_dit.optimizer.lr=.nan", "must be a finite number"),
        (DIT, "train_dit.optimizer.betas=[0.9]", "train_dit.optimizer.betas"),
        (DIT, "train_dit.holdout=1", "must be less than 1"),
        (DIT, "train_dit.text_dropout=1", "must be less than 1"),
        (DIT, "train_dit.buckets=[]", "train_dit.buckets"),
        (DIT, "train_dit.buckets.0.frames=16", "got 16; must be 4n+1"),
        (DIT, "train_dit.buckets.0.width=50", "got 50; must be a multiple of 16"),
        (DIT, "train_dit.buckets.0.probability=0", "must be greater than 0"),
        (DIT, "train_dit.adapter={rank: 0}", "adapter.rank: got 0; must be greater than or"),
        (DIT, "train_dit.adapter={rank: 4096}", "is 192x192, whose changes have ranks up to 192"),
        (DIT, "train_dit.adapter={base: int4}", "did you mean 'int8'?"),
        (DIT, "train_dit.memory.checkpoint_every=0", "must be greater than 0"),
        (DIT, "train_dit.memory.stream_blocks=true", "which needs each block checkpointed; set"),
        (DIT, "train_dit.memory.offload_activations=true", "`checkpointing: pointwise` frees what"),
        (DIT, "train_dit.mixed_precision=fp8", "mixed_precision: got 'fp8'"),
        (DIT, "train_dit.mixed_precision=true", "mixed_precision: got true"),
        (VAE, "train_vae.chunk_frames=1", "train_vae.chunk_frames: got 1"),
        (VAE, f"{GAN}={{weight: 1, width: 12}}", "width: got 12; must be a multiple of 8, e.g. 16"),
        (VAE, f"{GAN}=true", "must be a number (the weight), or a section"),
        (A14B, "train_dit.expert_share=1", "must be less than 1"),
        (VACE, "train_dit.vace.mask_area=[0.5, 0.1]", "the first number must not be the larger"),
        (VACE, "train_dit.vace.composite=2", "must be less than or equal to 1"),
        (LORA, "train_dit.adapter.rank=5000", "changes have ranks up to 1536"),
        (LORA, "train_dit.adapter.targets=[]", "must hold 1 or more"),
        (LORA, "device=cuda:7", "got 'cuda:7', but this machine has"),
        (DIT, "train_dit.tasks={t2v: 0}", "train_dit.tasks.t2v: got 0; must be greater than 0"),
        (DIT, "train_dit.conditions.continuation_s=[2, 1]", "the first number must not be the"),
        (DIT, "train_dit.conditions.draws_per_window=0", "must be greater than 0"),
        (DIT, "train_dit.adapter={rank: 0}", "adapter.rank: got 0; must be greater than or equal"),
        (DIT, "train_dit.timesteps.mode_scale=3", "must be less than or equal to 1.75"),
        (DIT, "train_dit.weights={motion: {high: -2}}", "weights.motion.high: got -2"),
        (DIT, "train_dit.windows_per_clip=null", "but `cache: disk` needs a number"),
        (DIT, "train_dit.buckets.0.batch_size=0", "must be greater than 0"),
    ],
)
WITHOUT_EFFECT = _cases(
    "without effect",
    [
        (DIT, "train_dit.optimizer.momentum=0.9", "got 0.9, which adamw does not use; leave it"),
        (
            DIT, "train_dit.adapter={}; train_dit.trained=[head]",
            "got ['head'] beside an adapter, under which all weights are frozen",
        ),
        (DIT, "train_dit.optimizer.adamw_lr=0.1", "got 0.1, which adamw does not use; leave it"),
        (
            PLAIN,
            "train_vae.optimizer.name=schedulefree; train_vae.optimizer.decay=cosine; "
            "train_vae.ema_decay=0",
            "got cosine; schedulefree takes `constant`",
        ),
        (
            PLAIN, "train_vae.optimizer.name=schedulefree; train_vae.ema_decay=0.9",
            "schedulefree averages the weights itself: say 0",
        ),
        (DIT, "train_dit.timesteps={law: uniform, std: 2}", "got 2.0, which uniform does not use"),
        (DIT, "train_dit.timesteps.min_snr_gamma=3", "got 3.0, which none does not use; leave it"),
        (DIT, "train_dit.timesteps.shift_formula=sqrt_tokens", "sqrt_tokens needs shift_tokens"),
        (DIT, "train_dit.optimizer.plateau.factor=0.9", "has keys, which cosine does not use"),
        (DIT, "train_dit.optimizer.groups=[{match: '*'}]", "the group changes nothing"),
        (DIT, "train_dit.optimizer.weights=bf16", "got bf16 with mixed_precision no"),
        (DIT, "train_dit.ema_decay=0; train_dit.ema_device=cpu", "ema_decay 0 keeps no average"),
        (DIT, "train_dit.adapter={}; train_dit.trained=[blocks]", "beside an adapter, under which"),
        (DIT, "train_dit.conditions.clip_branch=true", "tiny has no image branch: leave it out"),
        (DIT, "train_dit.conditions.dropout=0.5", "got 0.5, which no task here uses (t2v, t2i)"),
        (DIT, "train_dit.conditions.continuation_s=[1, 2]", "got [1.0, 2.0], which no task here"),
        (DIT, "train_dit.tokens_per_batch=9", "got 9, and every bucket has a batch_size; leave it"),
        (DIT, "train_dit.vace.kinds.flow=2", "has no effect on task t2v; leave it out, or train"),
        (DIT, "train_dit.experts=low", "got low, and tiny has no experts; leave it out"),
        (A14B, "train_dit.experts=low; train_dit.expert_share=0.5", "low learns in every step"),
        (LORA, "train_dit.ema_device=cpu", "ema_decay 0 keeps no average; leave it out"),
        (VAE, "train_vae.loss.perceptual={weight: 1, weights: [a]}", "st-lpips comes with its"),
        (VAE, "train_vae.loss.perceptual={weight: 1, network: lpips-vgg}", "lpips-vgg needs files"),
        (VAE, "train_vae.loss.l1=0; train_vae.loss.perceptual=0", "nothing compares videos at"),
    ],
)  # fmt: skip


def _tiny_decoders() -> dict[str, tuple[list[str], str]]:
    """A tiny decoder in every place that takes weights of a model."""
    cases = {}
    for place in ("taew", "taew/diffusion_pytorch_model.safetensors", "loose"):
        line = f"{place}: is a tiny decoder, which only makes outputs"
        sample = ["sample", "a cat", "--recipe", "tiny"]
        cases |= {
            f"inspect tiny decoder {place}": (["weights", "inspect", place], line),
            f"check tiny decoder {place}": (["weights", "check", place], line),
            f"convert tiny decoder {place}": (
                ["weights", "convert", place, "to", "--layout", "official"], line,
            ),
            f"sample tiny decoder {place}": ([*sample, "--set", f"model.weights={place}"], line),
            f"train from VAE {place}": ([*VAE, "--set", f"model.vae_weights={place}"], line),
            f"train from {place}": ([*VAE, "--set", f"model.weights={place}"], line),
            f"train the transformer with VAE {place}": (
                [*DIT, "--set", f"model.vae_weights={place}"],
                f"{place} is a tiny decoder, which only makes outputs and previews; training",
            ),
        }  # fmt: skip
    return cases


TASKS = _cases(
    "task",
    [
        (DIT, "train_dit.tasks={i2v: 1}", "tiny cannot do it: it has no channels for pictures"),
        (DIT, "train_dit.tasks={t2i: 1, t2v: 1}", "tasks.t2i: takes the frames of no bucket"),
        (
            DIT, "train_dit.task_captions={i2v: {'motion-*': 1}}",
            "train_dit.task_captions.i2v: is no task of this run, which trains t2v",
        ),
        (
            [*DIT, "--set", "model.variant=wan2.1-i2v-14b-480p"],
            "train_dit.buckets=[{frames: 1, height: 480, width: 832}]",
            "got 1, which none of the tasks takes (i2v)",
        ),
        (
            [*DIT, "--set", "model.variant=wan2.1-i2v-14b-480p"], "train_dit.tasks={t2v: 1}",
            "cannot do it: it reads pictures beside the noise; it can do i2v",
        ),
    ],
)  # fmt: skip
WEIGHTS = {
    **_cases(
        "weights",
        [
            (FINETUNE, "model.vae_weights=nowhere.pth", "no file or folder 'nowhere.pth'"),
            (FINETUNE, "model.vae_weights=weights/umt5.safetensors", "holds no VAE; name a folder"),
            (FINETUNE, "model.vae_weights=weights/page.safetensors", "a web page, so the download"),
            (FINETUNE, "model.vae_weights=unfinished/vae", "unfinished/vae holds no finished VAE"),
            (
                FINETUNE, "model.vae_weights=vae; model.vae_width=16",
                "holds a VAE with dim_mult 1,1,1,1",
            ),
            (
                FINETUNE, "model.vae_weights=vae; train_vae.trained=decoder.middle.9",
                "train_vae.trained.0: the VAE has no part 'decoder.middle.9'; near are",
            ),
        ],
    ),
    "stage 2 before stage 1": (
        ["train-vae", "--recipe", "vae-stage2-video"],
        "does not exist; `wanctl train-vae --recipe vae-stage1-image` makes one",
    ),
    "stage 3 before stage 2": (
        ["train-vae", "--recipe", "vae-stage3-gan"],
        "does not exist; `wanctl train-vae --recipe vae-stage2-video` makes one",
    ),
    "parts checked with the recipe": (
        ["recipe", "check", "vae-finetune", "--set", "train_vae.trained=decoder.haed"],
        "no part 'decoder.haed'; near are decoder.head",
    ),
}  # fmt: skip
TRAINING = {**NAMES, **VALUES, **WITHOUT_EFFECT, **TASKS, **WEIGHTS, **_tiny_decoders()}
