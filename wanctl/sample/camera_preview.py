"""`wanctl camera preview`: a recipe's camera path as a picture and a video, without a model."""

from pathlib import Path

from wanctl.camera.plane import views_of_plane
from wanctl.camera.preview import camera_sheet
from wanctl.errors import ProblemsError
from wanctl.model.variant_table import get_variant
from wanctl.recipe.load import LoadedRecipe
from wanctl.sample.inputs import InputCache
from wanctl.sample.settings import in_section, input_spec
from wanctl.tasks.inputs import Inputs, RequestedSize
from wanctl.tasks.pixels import to_array
from wanctl.tasks.sizing import resize_crop_lanczos
from wanctl.tasks.table import get_task
from wanctl.video.encode import write_png, write_video

SHEET, VIDEO = "camera-preview.png", "camera-preview.mp4"


def preview_camera(loaded: LoadedRecipe, out: Path) -> tuple[Path, Path]:
    """Write `camera-preview.png` and `.mp4`: the start image on a plane, as the camera sees it.

    Args:
        loaded: the recipe; `sample.image`, `sample.camera`, the size and the frame rate are used.
        out: the run folder.

    Returns:
        The picture and the video.

    Raises:
        RecipeError: the image, the path or the size is missing or cannot be used, at its line.
    """
    section, decode = loaded.recipe.sample, loaded.recipe.curate.decode
    variant = get_variant(loaded.recipe.model.variant)
    fps = variant.defaults.fps if section.fps is None else section.fps
    spec = input_spec(section, fps)
    requested = RequestedSize(section.frames, section.height, section.width, exact=spec.exact)
    cache = InputCache(decode.timeout_s, int(decode.memory_gb * 2**30))
    try:
        with in_section("sample"):
            files = cache.read(spec).inputs
            inputs = Inputs(image=files.image, camera=files.camera, fps=fps, exact=files.exact)
            task = get_task("camera")
            size = task.size(inputs, requested, variant.defaults, variant.vae)
            task.latent_shape(variant.vae, *size, inputs)
    except ProblemsError as error:
        raise loaded.locate(error) from None
    assert inputs.image is not None
    assert inputs.camera is not None
    picture = to_array(resize_crop_lanczos(inputs.image, (size.height, size.width)))
    path = inputs.camera.path(size.frames)
    sheet, video = out / SHEET, out / VIDEO
    write_png(sheet, camera_sheet(picture, path))
    write_video(video, views_of_plane(picture, path), fps)
    return sheet, video
