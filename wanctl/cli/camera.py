"""`wanctl camera`: look at camera paths before a model follows them."""

import typer

from wanctl.cli.options import OutOption, RecipeOption, SetOption, load_recipe_for
from wanctl.cli.program import camera_app

DEFAULT_CAMERA_RECIPE = "wan2.1-fun-v1.1-1.3b-control-camera"


@camera_app.command("preview")
def preview(
    ctx: typer.Context,
    recipe: RecipeOption = None,
    overrides: SetOption = None,
    out: OutOption = None,
) -> None:
    """Draw `sample.camera` over `sample.image`: a page with its path, and a video of a plane.

    `--set sample.image=FILE --set 'sample.camera={moves: [{move: left}]}'` is enough.
    """
    loaded = load_recipe_for(ctx, (), recipe or DEFAULT_CAMERA_RECIPE, overrides)
    from wanctl.sample.camera_preview import preview_camera

    for path in preview_camera(loaded, loaded.out_dir(out)):
        typer.echo(path)
