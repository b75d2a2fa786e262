"""How a recipe names a camera path: a file, or moves."""

from dataclasses import dataclass
from pathlib import Path

from wanctl.camera.moves import Move, path_of_moves
from wanctl.camera.paths import CameraPath
from wanctl.camera.pose_files import read_path
from wanctl.errors import UserError


@dataclass(frozen=True)
class CameraOptions:
    """A camera path before the number of frames is known.

    Attributes:
        file: a file of poses; None: the moves.
        moves: applied in this order, each over the whole video.
    """

    file: str | None = None
    moves: tuple[Move, ...] = ()

    def path(self, frames: int) -> CameraPath:
        """The path in this number of frames.

        Raises:
            UserError: `camera.KEY: message`.
        """
        if self.file and self.moves:
            raise UserError("camera.moves: goes not with camera.path; leave one of them out")
        if self.file:
            return read_path(Path(self.file).expanduser()).resampled(frames)
        return path_of_moves(self.moves, frames)
