"""Layouts of the published files: digests, numbers of tensors and of parameters.

`verified`: the digest was compared with the one that is published for the released file, or a model
of those sizes gives it.
"""

from collections.abc import Mapping
from dataclasses import replace

from wanctl.checkpoint.registry.types import Layout


def _known(md5: str, tensors: int, parameters: int | None = None) -> Layout:
    return Layout(md5, tensors, parameters, verified=True)


# Row of VARIANTS -> the layout of its transformer; of two experts, of each.
OFFICIAL: Mapping[str, Layout] = {
    "wan2.1-t2v-1.3b": _known("9269f8db9040a9d860eaca435be61814", 825, 1_418_996_800),
    "wan2.1-t2v-14b": _known("aafcfd9672c3a2456dc46e1cb6e52c70", 1095, 14_288_491_584),
    "wan2.1-i2v-14b-480p": _known("6bfcfb3b342cb286ce886889d519a77e", 1303, 16_394_878_784),
    "wan2.1-i2v-14b-720p": _known("6bfcfb3b342cb286ce886889d519a77e", 1303, 16_394_878_784),
    "wan2.1-flf2v-14b": _known("3ef3b1f8e1dab83d5b71fd7b617f859f", 1304, 16_395_536_704),
    "wan2.1-vace-1.3b": _known("a61453409b67cd3246cf0c3bebad47ba", 1264, 2_153_972_032),
    "wan2.1-vace-14b": _known("7a513e1f257a861512b1afd387a8ecd9", 1331, 17_337_592_896),
    "wan2.2-t2v-a14b": _known("aafcfd9672c3a2456dc46e1cb6e52c70", 1095, 14_288_491_584),
    "wan2.2-i2v-a14b": _known("5b013604280dd715f8457c6ed6d6a626", 1095, 14_288_901_184),
    "wan2.2-ti2v-5b": _known("1f5ab7703c6fc803fdded85ff040c316", 825, 4_999_787_712),
}
S2V_14B = _known("966cffdcc52f9c46c391768b27637614", 1260, 16_295_755_609)
ANIMATE_14B = _known("31fa352acb8a1b1d33cd8764273d80a2", 1441, 17_274_817_108)
ANIMATE_2_14B = _known("4536c21ad8740ba78367af4216ae85bf", 1303, 16_394_878_784)
DANCER_14B = Layout("eb18873fc0ba77b541eb7b62dbcd2059")

FUN_1_3B_INP = _known("6d6ccde6845b95ad9114ab993d917893", 983, 1_564_428_608)
FUN_1_3B_CONTROL = _known("349723183fc063b2bfc10bb2835cf677", 983, 1_564_502_336)
FUN_1_3B_CONTROL_V1_1 = _known("70ddad9d3a133785da5ea371aae09504", 985, 1_564_602_176)
FUN_1_3B_CAMERA = _known("ac6a5aa74f4a0aab6f64eb9a72f19901", 989, 1_616_313_152)
FUN_14B_INP = OFFICIAL["wan2.1-i2v-14b-480p"]
FUN_14B_CONTROL = _known("efa44cddf936c70abd0ea28b6cbe946c", 1303, 16_395_124_544)
FUN_14B_CONTROL_V1_1 = _known("26bde73488a92e64cc20b0a7485b9e5b", 1305, 16_395_457_344)
FUN_14B_CAMERA = _known("b61c605c2adbd23124d152ed28e049ae", 1309, 16_898_128_704)
FUN_A14B_CONTROL = _known("2267d489f0ceb9f21836532952852ee5", 1097, 14_289_561_664)
FUN_A14B_CAMERA = _known("47dbeab5e560db3180adf51dc0232fb1", 1101, 14_792_233_024)
FUN_5B_INP = Layout("e1152dffccb2a7a3872ef0d01f3fc8d5", 825, 5_000_426_688)
FUN_5B_CONTROL = Layout("8cf5720f1d99f2d3d9f4d059c99f7e25", 827, 5_001_609_408)
FUN_5B_CAMERA = Layout("0e2ab7dec4711919374f3d7ffdea90be", 831, 5_245_802_688)

SKYREELS_DF_1_3B = Layout("5367901296e740d6e4c02ce80bba6a23", 830, 1_435_525_696)
RECAMMASTER_1_3B = Layout("eba39c71759fed170880aaf589b469ba", 945, 1_490_420_800)

VAE_2_1 = _known("ccc42284ea13e1ad04693284c7a09be6", 194)
VAE_2_2 = _known("e1de6c02cdac79f8b739f4d3698cd216", 196)
LIGHT_VAE = Layout("19560d299104e665df05de9a03074ed5", 194, 8_035_003)  # of width 24
UMT5_XXL = _known("9c8818c2cbea55eca56c7b447df170da", 242)
CLIP_VIT_H = _known("5941c53e207d62f20f9025686193c40b", 784)
SPEED_CONTROL = _known("dbd5ec76bbf977983f972c151d545389", 6)

# A published file of the base's tensors under the prefix `model.`.
KREA_14B = replace(
    OFFICIAL["wan2.1-t2v-14b"], prefix="model.", stored_md5="5ec04e02b42d2580483ad69f4e76346a"
)
SELF_FORCING_1_3B = replace(
    OFFICIAL["wan2.1-t2v-1.3b"],
    prefix="model.",
    stored_md5="e37c34d6a7848fafc83fc3e210a0db93",
    verified=False,
)


def inferred(base: str) -> Layout:
    """The layout of an official model, which a checkpoint made from it is taken to have."""
    return replace(OFFICIAL[base], verified=False)
