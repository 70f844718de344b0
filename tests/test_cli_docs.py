"""The page on the commands: its Python runs, and its commands have these options."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from skcvae.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "user_guide" / "commands.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize("line", LINES)
def test_commands_of_the_page_have_these_options(line):
    program, name, *words = shlex.split(line, comments=True)
    assert program == "skcvae"
    known = {option for p in COMMANDS[name].params for option in p.opts}
    options = {word for word in words if re.match("-+[a-z]", word)}
    assert options <= known


def test_python_of_the_page_runs():
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert len(blocks) == 1
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), {})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_json_and_is_on_a_page(name):
    assert "--json" in {option for p in COMMANDS[name].params for option in p.opts}
    assert f"`{name}`" in TEXT or f"skcvae {name}" in TEXT
