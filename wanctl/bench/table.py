"""Every family of defects, by the name that `wanctl filters bench NAME` takes."""

from wanctl.bench.cases import Family
from wanctl.bench.families import border, copies, cuts, focus, light, logo, making, text, tiers

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
