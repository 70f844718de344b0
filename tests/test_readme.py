"""The README: its code runs, its numbers are printed, its links lead somewhere."""

import inspect
import re
import runpy
from pathlib import Path

import headline

import skcvae

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
HOMES = (
    "https://github.com/skcvae/skcvae/blob/main/",
    "https://raw.githubusercontent.com/skcvae/skcvae/main/",
)
PAGES = "https://skcvae.readthedocs.io/en/latest/"


def test_code_block_prints_one_score_per_fold(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    scores = re.findall(r"[01]\.\d*", capsys.readouterr().out)
    assert len(scores) == 5
    assert min(map(float, scores)) > 0.5


def test_ci_runs_the_test_command_of_the_readme():
    commands = re.findall(r"```bash\n(.*?)\n```", README, flags=re.DOTALL)
    assert len(commands) == 2
    assert all("\n" not in command for command in commands)
    test_command = next(c for c in commands if "pytest" in c)
    install, run = test_command.split(" && ")
    script = (ROOT / ".ci" / "run").read_text()
    assert f"{install.replace('install', 'install --quiet')} && {run}" in script


def test_links_lead_to_files_and_pages():
    # A package index shows the README as well, and knows no files beside it.
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert len(links) > 10
    for link in links:
        assert link.startswith("https://"), link
        home = next((h for h in (*HOMES, PAGES) if link.startswith(h)), None)
        path = link.removeprefix(home or link)
        if home in HOMES:
            assert (ROOT / path).exists(), link
        elif home == PAGES and path and not path.startswith("auto_examples/"):
            stem = ROOT / "docs" / path.removesuffix(".html")
            assert any(stem.with_suffix(s).exists() for s in (".md", ".rst")), link


def test_the_table_is_the_one_that_the_script_prints():
    assert headline.table() in README


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120
    parts = filter(inspect.ismodule, (getattr(skcvae, name) for name in skcvae.__all__))
    names = {
        name
        for part in parts
        for name in part.__all__
        if inspect.isclass(getattr(part, name))
    }
    named = {name for name in names if re.search(rf"\b{name}\b", README)}
    assert 1 <= len(named) <= 8, named


def test_description_of_the_package_is_the_sentence_of_the_readme():
    (sentence,) = re.findall(r"^Over-sample .*?\.$", README, re.MULTILINE | re.DOTALL)
    description = re.search(
        r'^description = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert " ".join(sentence.split()) == description[1] + "."


def test_the_map_of_the_documentation_is_drawn_from_its_table():
    script = runpy.run_path(str(ROOT / "docs" / "images" / "decision_map.py"))
    svg = (ROOT / "docs" / "images" / "decision_map.svg").read_text(encoding="utf-8")
    assert script["draw"]() == svg
    assert "LongTailClassifier" in svg
