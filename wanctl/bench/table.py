"""Every family of defects, by the name that `wanctl filters bench NAME` takes."""

from wanctl.bench.cases import Family
from wanctl.bench.families import (
    blur,
    border,
    container,
    duplicates,
    exposure,
    motion,
    ocr,
    shots,
    watermark,
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        shots.FAMILY,
        border.FAMILY,
        ocr.FAMILY,
        watermark.FAMILY,
        exposure.FAMILY,
        blur.FAMILY,
        motion.FAMILY,
        duplicates.FAMILY,
        container.FAMILY,
    )
}
