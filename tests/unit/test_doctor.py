from wanctl.cli import doctor, filters
from wanctl.curate.registry import filter_names


def sections(text: str) -> dict[str, list[list[str]]]:
    found: dict[str, list[list[str]]] = {}
    for line in text.splitlines():
        title, *cells = line.split("\t")
        found.setdefault(title, []).append(cells)
    return found


def test_doctor_names_every_filter_captioner_and_packaged_model(capsys):
    doctor.examine()
    found = sections(capsys.readouterr().out)
    assert list(found) == ["packages", "machine", "models", "filters", "captioners"]
    assert ["template", "yes", ""] in found["captioners"]
    assert {row[0] for row in found["filters"]} == set(filter_names())
    assert all(row[1] == "yes" or row[2] for row in found["filters"]), "a no has its reason"
    packages = {row[0]: row[1] for row in found["packages"]}
    assert packages["torch"] != "not installed"
    assert "not installed" not in packages.values()
    models = {row[0]: row[1] for row in found["models"]}
    assert models["MiniLM (text encoder)"] == "yes"


def test_a_model_that_is_missing_says_which_package_brings_it(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "_PACKAGED", (("X", "no_such_module", "x.onnx"),))
    doctor.examine()
    rows = sections(capsys.readouterr().out)["models"]
    assert ["X", "no", "package no-such-module is not installed"] in rows


def test_filters_are_listed_with_their_keys(capsys):
    filters.list_filters()
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    by_key = {(row[0], row[1]): row for row in rows}
    assert by_key["duration", "min_s"][2] == "4.0"
    assert by_key["blur", "samples"][4] == "measures again"
    assert by_key["blur", "max_width"][4] == ""


def test_both_experts_of_a_model_in_the_hub_cache_are_found(tmp_path, monkeypatch, capsys):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--Wan-AI--Wan2.2-I2V-A14B" / "snapshots" / "abc"
    (snapshot / "high_noise_model").mkdir(parents=True)
    (snapshot / "high_noise_model" / "diffusion_pytorch_model.safetensors").touch()
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    doctor.examine()
    rows = {row[0]: row[1:] for row in sections(capsys.readouterr().out)["models"]}
    found, where = rows["wan2.2-i2v-a14b"]
    assert found == "yes"
    assert where == f"{snapshot / 'high_noise_model'}, without VAE, text encoder"
    assert rows["wan2.2-t2v-a14b"][0] == "no"
    assert "hf download Wan-AI/Wan2.2-T2V-A14B" in rows["wan2.2-t2v-a14b"][1]
