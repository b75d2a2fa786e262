"""Mistakes in a camera path: files of poses, moves, and models without an adapter for one.

Name -> arguments and a part of the one line that they give, as in bad_inputs.py.
"""

START = "sample.image=good.png"
MODEL = ["sample", "a cat", "--recipe", "wan2.1-fun-v1.1-1.3b-control-camera"]
PREVIEW = ["camera", "preview"]
LENS = "0.53 0.94 0.5 0.5 0 0"
STAND = "1 0 0 0 0 1 0 0 0 0 1 0"

POSES = {
    "poses.txt": f"url\n0 {LENS} {STAND}\n1 {LENS} {STAND}\n",
    "poses-none.txt": "",
    "poses-url.txt": "url\n",
    "poses-short.txt": f"url\n0 {LENS} {STAND}\n1 {LENS} 1 0 0\n",
    "poses-words.txt": f"url\n0 {LENS} {STAND.replace('1', 'one')}\n",
    "poses-nan.txt": f"url\n0 {LENS} {STAND.replace('1', 'nan')}\n",
    "poses-flat.txt": f"url\n0 {LENS} {STAND.replace('1', '0')}\n",
    "poses-centre.txt": f"url\n0 {LENS.replace('0.5', 'inf')} {STAND}\n",
    "poses.json": '{"frames": 3}',
    "poses-flat.json": '{"w": 0, "h": 9, "fl_x": 3, "frames": [{"transform_matrix": 1}]}',
    "poses-list.json": '{"w": [], "fl_x": 3, "frames": [{"transform_matrix": []}]}',
    "poses-half.json": '{"frames": [',
}


def _camera(text: str, command: list[str] = PREVIEW) -> list[str]:
    return [*command, "--set", START, "--set", f"sample.camera={text}"]


CAMERA = {
    "preview of no path": ([*PREVIEW, "--set", START], "sample.camera: task camera needs one"),
    "preview of no image": (
        [*PREVIEW, "--set", "sample.camera={moves: [{move: left}]}"],
        "sample.image: task camera needs one",
    ),
    "preview of a broken image": (
        [*_camera("{moves: [{move: left}]}"), "--set", "sample.image=broken.png"],
        "sample.image: broken.png",
    ),
    "preview of 7 frames": (
        [*_camera("{moves: [{move: left}]}"), "--set", "sample.frames=7"],
        "sample.frames: got 7; must be 4n+1",
    ),
    "preview of one frame": (
        [*_camera("{moves: [{move: left}]}"), "--set", "sample.frames=1"],
        "sample.frames: got 1; task camera makes videos",
    ),
    "preview into a file": ([*_camera("{moves: [{move: left}]}"), "--out", "file"], "file"),
    "no such move": (_camera("{moves: [{move: lefft}]}"), "did you mean 'left'?"),
    "move without a name": (_camera("{moves: [{speed: 2}]}"), "sample.camera.moves.0.move"),
    "move at no speed": (_camera("{moves: [{move: left, speed: fast}]}"), "moves.0.speed"),
    "moves and a path": (
        _camera("{moves: [{move: left}], path: poses.txt}"),
        "sample.camera.moves: goes not with camera.path",
    ),
    "path nowhere": (_camera("{path: nowhere.txt}"), "nowhere.txt: no such file"),
    "path that is a folder": (_camera("{path: empty}"), "empty: is a folder; need a file"),
    "path of bytes": (_camera("{path: noise.png}"), "noise.png: cannot be read as text"),
    "path of nothing": (_camera("{path: poses-none.txt}"), "poses-none.txt"),
    "path of a URL": (_camera("{path: poses-url.txt}"), "poses-url.txt"),
    "path with half a line": (_camera("{path: poses-short.txt}"), "poses-short.txt"),
    "path of words": (_camera("{path: poses-words.txt}"), "poses-words.txt"),
    "path of no numbers": (_camera("{path: poses-nan.txt}"), "poses-nan.txt"),
    "path of no rotations": (_camera("{path: poses-flat.txt}"), "poses-flat.txt"),
    "path with no centre": (_camera("{path: poses-centre.txt}"), "poses-centre.txt"),
    "JSON without poses": (_camera("{path: poses.json}"), "poses.json"),
    "JSON of no width": (_camera("{path: poses-flat.json}"), "lacks numbers that are needed"),
    "JSON with a list": (_camera("{path: poses-list.json}"), "lacks numbers that are needed"),
    "half a JSON": (_camera("{path: poses-half.json}"), "poses-half.json: is no JSON"),
    "path for a model of text": (
        _camera("{moves: [{move: left}]}", ["sample", "a cat", "--recipe", "tiny"]),
        "task t2v takes none",
    ),
    "path for a control model": (
        _camera(
            "{moves: [{move: left}]}",
            ["sample", "a cat", "--recipe", "wan2.1-fun-1.3b-control"],
        ),
        "sample.video: task control needs one",
    ),
    "task camera of a control model": (
        _camera(
            "{moves: [{move: left}]}",
            ["sample", "a cat", "--recipe", "wan2.1-fun-1.3b-control", "--set",
             "sample.task=camera"],
        ),
        "wan2.1-fun-1.3b-control cannot do camera, it does control; variants that can: wan2.1",
    ),
    "sample of a bad path": (_camera("{path: poses-flat.txt}", MODEL), "poses-flat.txt"),
}  # fmt: skip
