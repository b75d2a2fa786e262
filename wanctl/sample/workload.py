"""What a request needs of a machine, in the terms of `wanctl.estimate`."""

from wanctl.estimate.flops import FP32_BYTES, UMT5_PARAMETERS, Workload
from wanctl.model.variants import Variant
from wanctl.sample.request import SampleRequest

DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def workload_of(request: SampleRequest, variant: Variant, num_outputs: int) -> Workload:
    """Describe outputs of one kind.

    Args:
        request: one of them.
        variant: with the sizes of the model.
        num_outputs: how many there are.
    """
    product_bytes = DTYPE_BYTES[request.dtype]
    int8_bytes = 1.0 + FP32_BYTES / variant.dit.dim  # and a scale per output row
    return Workload(
        variant=variant,
        size=request.size,
        steps=request.steps,
        guided=request.guided,
        guided_share=request.guide_until,
        weight_bytes=int8_bytes if request.placement.quantize else product_bytes,
        product_bytes=product_bytes,
        streamed=request.placement.stream_blocks,
        vae_tile=request.vae_tile,
        prompts=num_outputs,
        encodes=float(bool(request.inputs)),
        text_parameters=UMT5_PARAMETERS if variant.text_encoder == "umt5" else 0,
    )
