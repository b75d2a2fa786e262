"""Models of subjects that were made from Wan: networks and run rules.

Phantom has the network of the text-to-video models and is a row of its own because it is another
task: without references it is not trained to make a video.
"""

from dataclasses import replace

from wanctl.model.variants import DIT_1_3B, DIT_14B, RUN_480P, DiTShape, Variant

_PHANTOM_RUN = replace(RUN_480P, guide_scale=7.5, reference_guide_scale=5.0)


def _phantom(size: str, dit: DiTShape) -> Variant:
    return Variant(
        name=f"phantom-{size.lower()}",
        dit=dit,
        defaults=_PHANTOM_RUN,
        tasks=("r2v",),
        base_hub=f"Wan-AI/Wan2.1-T2V-{size}",
    )


SUBJECT_VARIANTS = (_phantom("1.3B", DIT_1_3B), _phantom("14B", DIT_14B))
