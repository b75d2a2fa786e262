"""A camera's path: a pose and a lens for every frame of a video.

Shapes: F frames.
"""

from dataclasses import dataclass

import numpy as np

ASPECT = 1280 / 720
"""Width to height of the pictures that intrinsics belong to, where a file does not say."""
FX, FY = 0.532139961, 0.946026558
"""The default lens, as shares of width and height: that of the published preset paths."""
DISTANCE = 2.0
"""From the first camera to the subject, in the units of the published preset paths."""


@dataclass(frozen=True)
class CameraPath:
    """Poses and lenses of F frames.

    Attributes:
        poses: (F, 4, 4) fp64 camera-to-world, x right, y down, z forward.
        lenses: (F, 4) fp64 focal lengths fx, fy and centre cx, cy, as shares of width and height.
        aspect: width to height of the pictures that the lenses belong to.
    """

    poses: np.ndarray
    lenses: np.ndarray
    aspect: float = ASPECT

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.poses)

    def relative(self) -> "CameraPath":
        """The path seen from its first pose, which becomes the identity."""
        first = np.linalg.inv(self.poses[0])
        return CameraPath(first @ self.poses, self.lenses, self.aspect)

    def resampled(self, frames: int) -> "CameraPath":
        """The path in another number of frames, from its first pose to its last.

        Positions and lenses are interpolated linearly, rotations on the shortest arc.
        """
        if frames == len(self):
            return self
        at = np.linspace(0, len(self) - 1, frames)
        low = np.minimum(at.astype(int), max(0, len(self) - 2))
        high = np.minimum(low + 1, len(self) - 1)
        share = (at - low)[:, None]
        lenses = (1 - share) * self.lenses[low] + share * self.lenses[high]
        poses = np.tile(np.eye(4), (frames, 1, 1))
        start, end = self.poses[low], self.poses[high]
        poses[:, :3, 3] = (1 - share) * start[:, :3, 3] + share * end[:, :3, 3]
        turns = np.swapaxes(start[:, :3, :3], 1, 2) @ end[:, :3, :3]
        poses[:, :3, :3] = start[:, :3, :3] @ rotations(share * rotation_vectors(turns))
        return CameraPath(poses, lenses, self.aspect)


def default_lenses(frames: int) -> np.ndarray:
    """(F, 4) the default lens for every frame."""
    return np.tile([FX, FY, 0.5, 0.5], (frames, 1))


def rotations(vectors: np.ndarray) -> np.ndarray:
    """(F, 3, 3) rotations by the length of (F, 3) vectors, in radians, around them (Rodrigues)."""
    angle = np.linalg.norm(vectors, axis=1)[:, None, None]
    axis = vectors / np.maximum(angle[:, :, 0], 1e-12)
    cross = np.zeros((len(vectors), 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= np.swapaxes(cross, 1, 2)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)


def rotation_vectors(turns: np.ndarray) -> np.ndarray:
    """(F, 3) axis times angle of (F, 3, 3) rotations of less than half a turn."""
    odd = (turns - np.swapaxes(turns, 1, 2)) / 2
    axis = np.stack([odd[:, 2, 1], odd[:, 0, 2], odd[:, 1, 0]], axis=1)
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, (np.trace(turns, axis1=1, axis2=2) - 1) / 2)
    return axis * (angle / np.maximum(sine, 1e-12))[:, None]
