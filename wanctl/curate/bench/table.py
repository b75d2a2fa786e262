"""Every family of defects, by the name that `wanctl filters bench NAME` takes."""

from wanctl.curate.bench import border, focus, light, logo, text
from wanctl.curate.bench.cases import Family

BENCHES: dict[str, Family] = {
    family.name: family
    for family in (
        border.FAMILY,
        text.FAMILY,
        logo.FAMILY,
        light.FAMILY,
        focus.FAMILY,
    )
}
