"""Recomputed, offloaded and streamed training steps: the same gradients, bit for bit."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from wanctl.errors import ProblemsError, UserError
from wanctl.model.variants import DiTShape
from wanctl.train.adapters.attach import AdapterOptions, Target, attach_adapter
from wanctl.train.memory.activations import offload_activations
from wanctl.train.memory.apply import save_memory
from wanctl.train.memory.checkpointing import ATTENTION, checkpoint_blocks
from wanctl.train.memory.optimizer import offload_optimizer
from wanctl.train.memory.options import MemoryOptions
from wanctl.train.optimizers.table import make_optimizer

SHAPE = DiTShape(
    dim=48, ffn_dim=160, num_layers=3, num_heads=2, in_channels=4, out_channels=4,
    text_dim=24, text_len=8, freq_dim=16,
)  # fmt: skip
CPU = torch.device("cpu")
KINDS = {
    "t2v": SHAPE,
    "i2v": replace(SHAPE, image_dim=20),
    "vace": replace(SHAPE, vace_layers=(0, 2), vace_channels=6),
}


class ForeignHost:
    """A host whose copies arrive when they are waited for; until then they are NaN."""

    def __init__(self):
        self.sent = self.returned = 0

    def to_host(self, tensor):
        self.sent += tensor.nbytes
        return tensor.clone(), self

    def to_device(self, host, after):
        self.returned += host.nbytes
        device = torch.full_like(host, float("nan"))
        return device, _Late(host, device)

    def finish(self):
        pass

    def wait(self):
        pass


class _Late:
    def __init__(self, host, device):
        self.host, self.device = host, device

    def wait(self):
        self.device.data.copy_(self.host)


@pytest.fixture(params=["full", "lora", "dora"])
def make(request, random_dit):
    """A model that is trained as a whole, or by an adapter on a frozen base."""

    def build(shape):
        model = random_dit(shape)
        if request.param != "full":
            target = Target("blocks.*", 4, 8.0)
            attach_adapter(model, AdapterOptions(request.param, (target,), dropout=0.0, seed=0))
            for name, parameter in model.named_parameters():
                if name.endswith("lora_B"):
                    torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
        return model.train()

    return build


def loss_of(model):
    generator = torch.Generator().manual_seed(1)
    drawn = lambda *size: torch.randn(*size, generator=generator)  # noqa: E731
    shape = model.shape
    given = {
        "image_BIE": drawn(2, 3, 20) if shape.image_dim else None,
        "control_BCTYX": drawn(2, 6, 3, 4, 6) if shape.vace_layers else None,
    }
    out = model(drawn(2, 4, 3, 4, 6), torch.tensor([700.0, 30.0]), drawn(2, 8, 24), **given)
    return out.square().mean()


def gradients(model):
    model.zero_grad()
    loss_of(model).backward()
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}


def kept_bytes(model):
    """What the forward pass keeps besides the weights."""
    sizes, weights = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}
    pack = lambda t: sizes.__setitem__(t.untyped_storage().data_ptr(), t.untyped_storage()) or t  # noqa: E731
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = loss_of(model)
    del loss
    return sum(storage.nbytes() for at, storage in sizes.items() if at not in weights)


@pytest.mark.parametrize("kind", KINDS)
def test_checkpointing_changes_no_gradient(make, kind):
    model = make(KINDS[kind])
    plain = gradients(model)
    for mode, every in [("pointwise", 1), ("selective", 1), ("full", 1), ("full", 2)]:
        checkpoint_blocks(model, mode, every)
        for _ in range(2):
            found = gradients(model)
            assert all(torch.equal(found[name], plain[name]) for name in plain), mode


def test_each_kind_of_checkpointing_keeps_less(random_dit):
    model = random_dit(SHAPE).train()
    kept = {}
    for mode, every in [("none", 1), ("pointwise", 1), ("full", 2), ("full", 1)]:
        checkpoint_blocks(model, mode, every)
        kept[mode, every] = kept_bytes(model)
    assert list(kept.values()) == sorted(kept.values(), reverse=True)
    assert kept["pointwise", 1] < 0.75 * kept["none", 1]
    assert kept["full", 1] < 0.3 * kept["none", 1]


class AttentionCalls(TorchDispatchMode):
    """Counts the attentions that are computed."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func in ATTENTION
        return func(*args, **(kwargs or {}))


def test_selective_checkpointing_computes_no_attention_twice(random_dit):
    model = random_dit(SHAPE).train()
    counts = {}
    for mode in ("selective", "full"):
        checkpoint_blocks(model, mode)
        with AttentionCalls() as calls:
            gradients(model)
        counts[mode] = calls.count
    assert counts == {"selective": 2 * SHAPE.num_layers, "full": 4 * SHAPE.num_layers}


@pytest.mark.parametrize("mode", ["none", "selective", "full"])
def test_offloaded_activations_change_no_gradient(make, mode):
    model = make(KINDS["vace"])
    plain = gradients(model)
    host = ForeignHost()
    checkpoint_blocks(model, mode)
    offload_activations(model, host, smallest_bytes=1024)
    for _ in range(2):
        found = gradients(model)
        assert all(torch.equal(found[name], plain[name]) for name in plain)
    assert 0 < host.returned <= host.sent
    model.eval()
    with torch.no_grad():  # sampling keeps nothing
        before = host.sent
        loss_of(model)
    assert host.sent == before


@pytest.mark.parametrize("name", ["adamw", "muon", "adafactor"])
def test_an_offloaded_optimizer_steps_alike(random_dit, optimizer_options, name):
    models = [random_dit(SHAPE).train() for _ in range(2)]
    plain, offloaded = (make_optimizer(m, optimizer_options(name=name)) for m in models)
    host = ForeignHost()
    offload_optimizer(offloaded, host, at_once=5000)
    for step in range(3):
        for model, optimizer in zip(models, (plain, offloaded), strict=True):
            gradients(model)
            optimizer.found_inf = torch.tensor(float(step == 1))  # the second one is skipped
            optimizer.step()
        for ours, theirs in zip(*(m.parameters() for m in models), strict=True):
            assert torch.equal(ours, theirs)
    assert host.returned > 0


def test_an_optimizer_that_steps_all_weights_together_is_not_offloaded():
    parameter = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([{"params": [parameter], "optimizer": "prodigy"}], lr=1.0)
    with pytest.raises(UserError, match="offload_optimizer: prodigy steps all"):
        offload_optimizer(optimizer, ForeignHost())


@pytest.mark.parametrize(
    ("changes", "names", "processes", "message"),
    [
        ({"stream_blocks": True}, "a", 1, "memory.stream_blocks: only frozen blocks are streamed"),
        ({"stream_blocks": True}, "ab", 1, "stream_blocks: is for one transformer"),
        ({"stream_blocks": True}, "a", 2, "is for one process, got 2"),
        ({"offload_optimizer": True}, "ab", 1, "memory.offload_optimizer: the state of the idle"),
    ],
)
def test_settings_that_do_not_fit_what_is_trained(random_dit, changes, names, processes, message):
    options = MemoryOptions("full", 1, False, False, False)
    models = {name: random_dit(SHAPE) for name in names}
    with pytest.raises(ProblemsError, match=message):
        save_memory(models, replace(options, **changes), CPU, processes=processes)
