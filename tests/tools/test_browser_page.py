"""What is missing is named, so that tests and the bench can say why they do nothing."""

import json
import shutil

import pytest

import bench_browser
import browser_page


def test_without_npm_nothing_is_built(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(browser_page.MissingProgram, match="npm is not installed"):
        browser_page.build_page(tmp_path)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_a_registry_that_does_not_answer_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
    with pytest.raises(browser_page.MissingProgram, match=r"no registry .*ECONNREFUSED"):
        browser_page.build_page(tmp_path)


def test_without_a_browser_nothing_is_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(browser_page.MissingProgram, match=r"none of chromium, .* is installed"),
        browser_page.open_chromium(),
    ):
        pass


def test_the_bench_ends_with_2_and_the_reason(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["bench_browser.py"])
    assert bench_browser.main() == 2
    assert capsys.readouterr().err == "bench_browser: skipped: npm is not installed\n"


def test_the_lock_file_names_versions_and_checksums_but_no_registry():
    locked = json.loads((browser_page.SOURCE / "package-lock.json").read_text())["packages"]
    libraries = {name: entry for name, entry in locked.items() if name}
    assert set(libraries) == {"node_modules/@litertjs/core", "node_modules/@litertjs/wasm-utils"}
    assert all(entry["integrity"].startswith("sha512-") for entry in libraries.values())
    assert not any("resolved" in entry for entry in libraries.values())
