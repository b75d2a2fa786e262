"""`make build`: is everything in the wheel? Installs it beside the checkout's packages and runs it.

Usage: python tests/wheel.py dist/wanctl-*.whl
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path


def main(wheel: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        venv.create(root / "venv", with_pip=False)
        python = root / "venv" / "bin" / "python"
        uv = Path(sysconfig.get_path("scripts")) / "uv"
        run([uv, "pip", "install", "--quiet", "--python", python, "--no-deps", wheel], root)
        # the dependencies come from this environment, the program from the wheel: the folder is
        # put behind the wheel's own site-packages, and without its .pth files (editable installs)
        env = os.environ | {"PYTHONPATH": "", "BORROW": sysconfig.get_path("purelib")}
        borrow = "import os; import sys; sys.path.append(os.environ['BORROW'])"
        site = next((root / "venv" / "lib").glob("python*/site-packages"))
        (site / "borrow.pth").write_text(borrow + "\n")
        where = run([python, "-c", "import wanctl; print(wanctl.__file__)"], root, env)
        if str(root) not in where:
            sys.exit(f"wanctl was imported from {where}, not from the wheel")
        program = root / "venv" / "bin" / "wanctl"
        print(run([program, "--version"], root, env), end="")
        print(run([program, "recipe", "check"], root, env), end="")
        print(run([program, "filters", "list"], root, env).count("\n"), "lines of filters")


def run(command: list[str | Path], folder: Path, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stderr}")
    return result.stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
