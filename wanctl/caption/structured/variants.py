"""The variants are in `wanctl/caption/variants.py`, which the checks read as well."""

from wanctl.caption.variants import (
    LANGUAGES,
    LENGTHS,
    MOTION,
    STYLES,
    Variant,
    accepted_length,
    length_of,
    parse_variant,
    variant_names,
)

__all__ = [
    "LANGUAGES",
    "LENGTHS",
    "MOTION",
    "STYLES",
    "Variant",
    "accepted_length",
    "length_of",
    "parse_variant",
    "variant_names",
]
