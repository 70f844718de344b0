"""The code of the README runs, and CI runs the README's test command."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_code_block_prints_one_score_per_fold(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    scores = re.findall(r"0\.\d+", capsys.readouterr().out)
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


def test_links_lead_to_files():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
