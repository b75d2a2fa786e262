"""The network of a transformer's sizes."""

from wanctl.model.dit.animate.driven import DrivenModel
from wanctl.model.dit.animate.poses import AnimateModel
from wanctl.model.dit.distilled.mean_flow import MeanFlowModel
from wanctl.model.dit.distilled.sparse import SparseModel
from wanctl.model.dit.frame_rate import FrameRateModel
from wanctl.model.dit.speech.network import SpeechModel
from wanctl.model.dit.subjects.recamera import PosedModel
from wanctl.model.dit.subjects.stand_in import FaceModel
from wanctl.model.dit.transformer import WanModel
from wanctl.model.variants import DiTShape


def make_dit(shape: DiTShape, precision: str = "fast") -> WanModel:
    """A transformer of the family that its sizes belong to; see `WanModel`.

    Raises:
        ValueError: the width does not divide into heads, or no such precision.
    """
    if shape.driven:
        return DrivenModel(shape, precision)
    if shape.face:
        return AnimateModel(shape, precision)
    if shape.speech:
        return SpeechModel(shape, precision)
    if shape.pose_numbers:
        return PosedModel(shape, precision)
    if shape.second_timestep:
        return MeanFlowModel(shape, precision)
    if shape.sparse_attention:
        return SparseModel(shape, precision)
    if shape.frame_rates:
        return FrameRateModel(shape, precision)
    return FaceModel(shape, precision) if shape.face_rank else WanModel(shape, precision)
