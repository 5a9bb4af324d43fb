"""What the documents say is true: settings, tools, commands, fields, files, links, and the examples in them."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from jsonschema import Draft202012Validator

import comfyui_api
from comfyui_api.cli import app
from comfyui_api.documents import schema, sections
from comfyui_api.results import RESULTS
from comfyui_api.sandbox import LICENCE_NOTE
from comfyui_api.settings import settings_table
from comfyui_api.tools import INSTRUCTIONS, TOOLS
from comfyui_api.tools.prompts import PROMPTS
from comfyui_api.tools.resources import BY_SECTION, SCHEME, TEMPLATES, resources

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = {
    str(path.relative_to(ROOT)).replace("\\", "/"): path.read_text("utf-8")
    for folder in (".", "references", "foundation")
    for path in sorted((ROOT / folder).glob("*.md"))
}
README, SKILL = DOCUMENTS["README.md"], DOCUMENTS["SKILL.md"]
# What agents are told without a document.
TOLD = {
    "instructions": INSTRUCTIONS,
    **{f"tool {name}": tool.description for name, tool in TOOLS.items()},
    **{f"prompt {name}": each.filled({given.name: "X" for given in each.arguments}) for name, each in PROMPTS.items()},
}
TEXTS = {**DOCUMENTS, **TOLD}
# What ComfyUI's own functions are called.
IN_TRACEBACKS = {"get_control"}
CONSOLE = typer.main.get_command(app)
every_document = pytest.mark.parametrize("name", list(DOCUMENTS))
every_text = pytest.mark.parametrize("name", list(TEXTS))


def result_fields() -> set[str]:
    """Names of tools, of their arguments, and of the fields and values of their results."""
    known = set(re.findall(r'"([a-z_]+)"', json.dumps(schema("tool-results")))) | set(TOOLS)
    return known | {name for tool in TOOLS.values() for name in tool.arguments.model_fields}


# --- settings, tools, fields


def test_every_setting_is_in_the_readme_as_it_is() -> None:
    for key, variable, about, default in settings_table():
        assert f"| `{variable}` | `{key}` | {about} | {f'`{default}`' if default else ''} |" in README


@every_text
def test_settings_that_are_named_exist(name: str) -> None:
    known = {variable for _, variable, _, _ in settings_table()} | {"COMFYUI_API_CONFIG", "COMFYUI_API_HTTP_TOKEN"}
    assert set(re.findall(r"\bCOMFYUI_[A-Z_]+\b", TEXTS[name])) <= known


@pytest.mark.parametrize("name", ["README.md", "SKILL.md"])
def test_every_tool_is_in_the_table_and_no_other(name: str) -> None:
    assert set(re.findall(r"^\| `([a-z]+_[a-z]+|interrupt)` \|", DOCUMENTS[name], re.MULTILINE)) == set(TOOLS)


def test_fields_that_the_skill_names_exist() -> None:
    """Whatever stands in backquotes and looks like a field is a tool, a field or value of a result, an argument, a
    command or a prompt."""
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*)`", SKILL))
    known = result_fields() | set(PROMPTS) | set(CONSOLE.commands)  # type: ignore[attr-defined]
    assert len(named) > 30
    assert named <= known, named - known


@every_text
def test_tools_that_are_named_exist(name: str) -> None:
    """A word that begins as a tool does, or that is called like one."""
    verbs = "|".join(sorted({tool.partition("_")[0] for tool in TOOLS if "_" in tool}))
    named = set(re.findall(rf"`((?:{verbs})_(?:[a-z]+))`", TEXTS[name]))
    others = result_fields() | comfyui_words() | set(comfyui_api.__all__) | IN_TRACEBACKS
    assert named <= others, named - others


@every_text
def test_calls_that_are_shown_fit_the_tools(name: str) -> None:
    """`queue_workflow(inputs={"6.text": "a cat"})` and the like."""
    for tool, arguments in calls(TEXTS[name]):
        tool.parse({**placeholders(tool), **arguments})


def calls(text: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The tool calls in a text, with their arguments; what is left out by … stays out."""
    for found in re.finditer(rf"\b({'|'.join(TOOLS)})\(", text):
        inside = balanced(text[found.end() - 1 :])
        if not inside or "=" not in inside:
            continue
        inside = re.sub(r"=(?=[,)])", "=X", inside)  # find_templates(name=)
        literal = inside.replace("…", '"…"').replace("true", "True").replace("false", "False").replace("null", "None")
        call = ast.parse(f"f{literal}", mode="eval").body
        assert isinstance(call, ast.Call), inside
        arguments = {}
        for keyword in call.keywords:
            assert keyword.arg is not None, inside
            value = keyword.value
            # A word stands for whatever there is: workflow=path.
            arguments[keyword.arg] = value.id if isinstance(value, ast.Name) else without_ellipses(value)
        yield TOOLS[found[1]], arguments


def without_ellipses(value: ast.expr) -> Any:
    if isinstance(value, ast.Set):  # {…}
        return {}
    if isinstance(value, ast.List):
        return [without_ellipses(each) for each in value.elts]
    return ast.literal_eval(value)


def balanced(text: str) -> str:
    """The beginning of a text up to the bracket that closes its first one; nothing where none does."""
    depth = 0
    for place, letter in enumerate(text[:500]):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth == 0:
            return text[: place + 1]
    return ""


def placeholders(tool: Any) -> dict[str, Any]:
    return {name: "X" for name, field in tool.arguments.model_fields.items() if field.is_required()}


def comfyui_words() -> set[str]:
    """Names of ComfyUI's own: what the quick reference names, which is tried on a real server."""
    return set(re.findall(r"[a-z]+(?:_[a-z]+)+", DOCUMENTS["foundation/api-quick-ref.md"]))


# --- commands


def command_lines(text: str) -> Iterator[list[str]]:
    """The words of each command that a text shows, from `comfyui-api` on; up to a |, a # or the end of the code."""
    for line in re.findall(r"(?:^|`|-- |FOLDER |\$ )comfyui-api ([a-z-][^`\n]*)", text, re.MULTILINE):
        code = re.split(r"\s#\s|\s\||;|…", line)[0].replace("[", "").replace("]", "").replace("...", "")
        try:
            yield shlex.split(code)
        except ValueError:  # an apostrophe of the sentence around it
            yield code.split()


@every_text
def test_commands_that_are_shown_exist_with_their_options(name: str) -> None:
    for words in command_lines(TEXTS[name]):
        command: Any = CONSOLE
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        choice = words[0].split("|") if words else []
        if len(choice) > 1:  # refresh|show|diff
            assert set(choice) <= set(command.commands), (choice, words)
            continue
        takes_more = any(parameter.param_type_name == "argument" for parameter in command.params)
        assert takes_more or not words or words[0].startswith("-"), f"{' '.join(words)}: no command of {command.name}"
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        shown = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert shown <= {*options, "--help"}, (command.name, shown - options)


def test_readme_and_skill_show_every_command() -> None:
    shown = {words[0] for name in ("README.md", "SKILL.md") for words in command_lines(DOCUMENTS[name]) if words}
    named = set(re.findall(r"`([a-z]+)`", SKILL))
    assert set(CONSOLE.commands) <= shown | named  # type: ignore[attr-defined]


# --- links


def anchors(text: str) -> set[str]:
    """The addresses of a document's headings, as forges make them."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.M)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@every_document
def test_links_lead_somewhere(name: str) -> None:
    here = Path(name).parent
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)", DOCUMENTS[name]):
        path = (ROOT / here / target).resolve() if target else ROOT / name
        assert path.exists(), target
        if anchor:
            assert anchor in anchors(path.read_text("utf-8")), f"{target}#{anchor}"


@every_text
def test_files_that_are_named_exist(name: str) -> None:
    for target in re.findall(r"`?\b((?:references|foundation|scripts|tests)/[\w./-]+\w)", TEXTS[name]):
        file, ending, section = target.partition(".md/")
        assert (ROOT / f"{file}{'.md' if ending else ''}").exists(), target
        assert not ending or section in sections(DOCUMENTS[f"{file}.md"]), target


@every_text
def test_resources_that_are_named_exist(name: str) -> None:
    known = {resource.uri for resource in resources()} | {template.uri for template in TEMPLATES}
    for uri in re.findall(rf"{SCHEME}[\w./{{}}-]*\w}}?", TEXTS[name]):
        place, _, section = uri.removeprefix(SCHEME).rpartition("/")
        is_section = place.removeprefix("references/") in BY_SECTION and section in sections(DOCUMENTS[place])
        assert uri in known or is_section, uri


# --- examples


@every_document
def test_examples_in_json_hold(name: str) -> None:
    """A prompt fits the schema of the API format; anything else is at least JSON."""
    for block in re.findall(r"```json\n(.*?)```", DOCUMENTS[name], re.DOTALL):
        example = json.loads(block)
        if "class_type" in block:
            Draft202012Validator(schema("api-workflow")).validate(example)


@every_document
def test_examples_in_toml_can_be_read(name: str) -> None:
    for block in re.findall(r"```toml\n(.*?)```", DOCUMENTS[name], re.DOTALL):
        tomllib.loads(block)


def test_overrides_on_the_command_line_can_be_read() -> None:
    for name in ("README.md", "SKILL.md"):
        for words in command_lines(DOCUMENTS[name]):
            for option, value in pairwise(words):
                if option == "--input":
                    assert re.fullmatch(r"[\w:]+\.\w+=.+", value), value


# --- the rest


def test_licence_of_the_sandbox_is_stated() -> None:
    for text in (README, LICENCE_NOTE):
        assert "GPL-3.0" in text
        assert "AGPL-3.0" in text


def test_skill_has_the_frontmatter_that_installers_want() -> None:
    _, front, _ = SKILL.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert set(meta) <= {"name", "description", "license", "compatibility", "metadata", "allowed-tools"}
    assert meta["name"] == "comfyui-api"
    assert len(meta["description"]) <= 1024
    assert len(meta["compatibility"]) <= 500
    assert meta["metadata"]["version"] == comfyui_api.__version__


def test_skill_is_short_enough_to_be_read_each_time() -> None:
    body = SKILL.split("---\n", 2)[2]
    assert len(body.splitlines()) < 500
    assert len(body) < 9_000  # about 2,500 tokens; the format's recommendation is 5,000


def test_version_is_one_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == comfyui_api.__version__
    assert f"## {comfyui_api.__version__}" in DOCUMENTS["CHANGELOG.md"]


def test_dependencies_have_their_reason_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    table = README[README.index("## Dependencies") :]
    for dependency in project["dependencies"]:
        name = re.split(r"[\[><=]", dependency)[0]
        assert re.search(rf"^\| .*\b{re.escape(name)}\b.* \|", table, re.MULTILINE), name


def test_every_result_model_belongs_to_a_tool() -> None:
    assert set(RESULTS) == set(TOOLS)
