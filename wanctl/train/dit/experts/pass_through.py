"""Put an expert that a run does not train into its folder, so that the folder is a whole model."""

import os
import shutil
from pathlib import Path

from wanctl.atomic import make_folder, replacing, writing
from wanctl.checkpoint.configs import dit_config
from wanctl.checkpoint.files.folders import STEM
from wanctl.checkpoint.files.tensor_files import write_config
from wanctl.checkpoint.find import Components
from wanctl.checkpoint.load import load_dit, read_dit_shape
from wanctl.checkpoint.save import save_dit

LINKED = ".safetensors"


def write_stored(components: Components, folder: Path) -> None:
    """Write a stored transformer into a folder in which `find_components` finds it.

    Its files get another name each (hard links), or where that is not possible a copy; both keep
    the number format. Only files of other containers are read and written again, in fp32. The
    folder's config.json comes last.

    Args:
        components: hold the transformer.
        folder: created if it does not exist; files of an earlier save are replaced.

    Raises:
        WriteError: the disk is full or cannot be written.
        WeightsError: a file cannot be read.
    """
    files = components.dit or ()
    if any(path.suffix != LINKED for path in files):
        save_dit(load_dit(components), folder)
        return
    make_folder(folder)
    names = [f"{STEM}{LINKED}"]
    if len(files) > 1:
        names = [f"{STEM}-{i:05}-of-{len(files):05}{LINKED}" for i in range(1, len(files) + 1)]
    for path, name in zip(files, names, strict=True):
        _link(path.resolve(), folder / name)
    with writing(folder):
        for path in folder.glob(f"{STEM}*"):
            if path.name not in names:
                path.unlink()
    write_config(folder / "config.json", dit_config(read_dit_shape(components), "official"))


def _link(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    with replacing(target) as temp:
        try:
            os.link(source, temp)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, temp)
