"""Every family of defects, by the name that `wanctl filters bench NAME` takes."""

from wanctl.curate.bench import border, copies, cuts, focus, light, logo, making, text, tiers
from wanctl.curate.bench.cases import Family

BENCHES: dict[str, Family] = {
    family.name: family
    for family in (
        cuts.FAMILY,
        border.FAMILY,
        text.FAMILY,
        logo.FAMILY,
        light.FAMILY,
        focus.FAMILY,
        tiers.FAMILY,
        copies.FAMILY,
        making.FAMILY,
    )
}
