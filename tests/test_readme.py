"""README.md, credentials.json.example, .ci/run and the tree: what they say is what the code does."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import demo
import pytest
from bed import PROJECT, SCHEMAS, Bed, matching_account, shipped_settings
from google_auth_oauthlib.flow import InstalledAppFlow
from stories import LETTERS, at_rest, bodies, person, settle, told

import sync

README = (PROJECT / "README.md").read_text(encoding="utf-8")
SOURCE = (PROJECT / "sync.py").read_text(encoding="utf-8")
FIRST_COMMANDS = """\
python3 -m venv .venv
.venv/bin/python -m pip install --quiet -r tests/requirements.txt
.venv/bin/python tests/demo.py
"""
SECOND_COMMANDS = """\
python3 -m venv .venv && .venv/bin/python -m pip install --quiet -r tests/requirements.txt
.venv/bin/python -m pytest
"""
# Which may fail: without a browser the tests that need one are skipped.
BROWSER_COMMAND = (
    "command -v chromium || timeout 300 sh -c "
    "'apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium' || true"
)
TOP_LEVEL = {
    ".ci", ".coveragerc", ".github", ".gitignore", ".mypy.ini", ".pytest.ini", ".ruff.toml", "README.md",
    "config.py", "credentials.json.example", "requirements.txt", "sync.py", "tests",
}  # fmt: skip
# Read by Python and the packages under sync.py; its messages send the admin to them.
READ_BELOW = {"BROWSER", "HTTPS_PROXY", "HTTPLIB2_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}
# Set by the system, and read to keep the home directory out of what --check shows.
HOME_VARIABLES = {"HOME", "USERPROFILE"}


def table(first_heading: str) -> list[list[str]]:
    """The cells of each row below the heading row that starts with this heading."""
    _, found, rest = README.partition(f"\n| {first_heading} |")
    assert found, f"README.md has no table that starts with {first_heading}"
    rows = []
    for line in rest.splitlines()[2:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def code_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def names(first_heading: str) -> list[str]:
    """What stands as code in the first column of a table."""
    return [name for row in table(first_heading) for name in code_in(row[0])]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_every_setting_is_in_the_readme_with_its_shipped_value() -> None:
    rows = [zip(code_in(row[0]), code_in(row[1]), strict=True) for row in table("Setting")]
    told = dict(pair for row in rows for pair in row)

    assert list(told) == [setting.name for setting in dataclasses.fields(sync.Settings)]
    shipped = shipped_settings()
    for name, value in told.items():
        assert ast.literal_eval(value) == shipped[name], name


def test_every_setting_in_the_readme_has_a_meaning() -> None:
    assert not [row[0] for row in table("Setting") if len(row) != 3 or not row[2].strip()]


def test_the_settings_that_may_be_left_out_are_the_last() -> None:
    values = {name: value for name, value in shipped_settings().items() if name.isupper()}
    optional = [name for name in values if not sync.config_faults({k: v for k, v in values.items() if k != name})]

    first = names("Setting").index("PRIVATE_VALUES") + 1
    assert optional == names("Setting")[first:]
    assert "All of them are required but those after `PRIVATE_VALUES`" in README


def test_every_option_of_the_command_line_is_in_the_readme_and_no_other(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with pytest.raises(SystemExit) as ended:
        sync.main(["--help"])

    assert ended.value.code == 0
    lines = re.findall(r"^  (-.*?)(?:  |$)", capsys.readouterr().out, re.MULTILINE)
    option = r"(?<![\w-])--?[a-z][a-z-]*"
    known = {name for line in lines for name in re.findall(option, line)}
    assert {name for told in names("Option") for name in re.findall(option, told)} == known


def test_no_option_that_does_not_exist_is_named_anywhere_in_the_readme() -> None:
    other_programs = {"--quiet"}
    known = set(re.findall(r'"(--[a-z-]+)"', SOURCE)) | {"--help"} | other_programs

    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README)) <= known


def test_every_exit_code_is_in_the_readme_and_no_other() -> None:
    codes = {sync.DONE, sync.ATTENTION, sync.FAILED, sync.HELD, sync.BUSY}

    assert [int(row[0]) for row in table("Code")] == sorted(codes)


def test_every_environment_variable_is_in_the_readme_and_no_other() -> None:
    read = set(re.findall(r'os\.environ(?:\.get\(|\[)"([A-Z_]+)"(?:\]|[,)])(?! = )', SOURCE))

    assert {"POWERSCHOOL_PROD_DB", "NEW_USER_PASSWORD"} <= read
    assert set(names("Variable")) == (read - HOME_VARIABLES) | READ_BELOW


def test_a_variable_is_called_needed_in_the_readme_just_where_a_run_refuses_to_start_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in names("Variable"):
        monkeypatch.delenv(name, raising=False)
    needed = [name for row in table("Variable") if row[1] == "yes" for name in code_in(row[0])]

    assert [remark.who for remark in sync.environment_faults()] == needed


def test_the_scopes_in_the_readme_are_those_the_script_asks_for() -> None:
    assert set(re.findall(r"https://www\.googleapis\.com/auth/[^\s,]+", README)) == {*sync.SCOPES, *sync.SETUP_SCOPES}
    assert [block.splitlines() for block in blocks("text") if block.startswith("https://")] == [
        [",".join(sync.SCOPES), ",".join(sync.SETUP_SCOPES)]
    ]


def test_the_custom_fields_in_the_readme_are_those_of_the_shipped_settings_with_types_that_work() -> None:
    words = {"INT64": "whole numbers", "STRING": "text", "PHONE": "text or phone"}
    told = []
    for schema in shipped_settings()["CUSTOM_SCHEMAS"]:
        sentence = re.search(rf"{schema}: (.*?)\. ", " ".join(README.split()))
        assert sentence is not None, schema
        for fields, kind in re.findall(r"(.*?) as (whole numbers|text or phone|text)", sentence[1]):
            told += [(schema, name, kind) for name in code_in(fields)]

    shipped = shipped_settings()["CUSTOM_SCHEMAS"]
    assert sorted(told) == sorted(
        (schema, name, words[SCHEMAS[schema][name]]) for schema, fields in shipped.items() for name in fields
    )


def test_every_value_that_a_custom_field_can_hold_is_in_the_readme() -> None:
    meaning = next(row[2] for row in table("Setting") if row[0] == "`CUSTOM_SCHEMAS`")

    assert set(sync.PERSON_VALUES) <= set(code_in(meaning))


def test_the_kinds_states_and_keys_of_a_journal_are_those_the_readme_tells(bed: Bed) -> None:
    bed.powerschool.add_person(211, "Emily", "Novak", "emily.novak@d118.org", schools={5: 1}, teacher_number="4211")
    bed.powerschool.add_person(301, "George", "Bauer", "george.bauer@d118.org", inactive_schools={5: 1})
    matching_account(bed, 211, email="emily.carter@d118.org")
    matching_account(bed, 301, suspended=False, ou="/D118 Staff/Wauconda High School Staff")

    outcome = bed.run()

    example = json.loads(blocks("json")[0])
    renamed = [line for line in outcome.journal if line["kind"] == "rename"]
    assert [line["state"] for line in renamed] == ["intended", "done"]
    for key in ("dcid", "state", "email", "kind", "before", "after", "error"):
        assert example[key] == renamed[-1][key], key
    assert list(example) == list(renamed[-1])
    assert {line["kind"] for line in outcome.journal} <= set(sync.KINDS)


def test_every_kind_and_state_is_in_the_readme() -> None:
    kinds = re.search(r"^Kinds: (.*?)\.\s", README, re.MULTILINE | re.DOTALL)

    assert kinds is not None
    assert code_in(" ".join(kinds[1].split())) == list(sync.KINDS)
    states = re.search(r"^States: (.*?)\.\s", README, re.MULTILINE | re.DOTALL)
    assert states is not None
    assert code_in(states[1]) == ["intended", "done", "failed", "unknown"]


def test_every_rule_that_a_line_about_a_person_can_name_is_in_the_readme_with_level_and_meaning() -> None:
    of_a_run = {"refused", "implausible", "busy", "full disk", "mail", "setting", "missing", "good", "WARNING", "FAULT"}

    _, _, section = README.partition("### Lines about one person\n")
    text = " ".join(line.strip() for line in section.partition("\n\n")[0].splitlines())
    told = re.findall(r"`([^`]+)`(?: \((INFO|WARN)\))?: (.+?)\.(?= `| \* |$)", text)
    assert [(label, level or "ERROR", meaning) for label, level, meaning in told] == [
        (rule.label, rule.level, rule.meaning) for rule in sync.Rule if rule.label not in of_a_run
    ]


def test_the_readme_is_plain_ascii_and_its_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    }

    assert README.isascii()
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_the_first_two_command_blocks_of_the_readme_are_the_demo_and_the_tests() -> None:
    assert blocks("sh")[:2] == [FIRST_COMMANDS, SECOND_COMMANDS]


def test_ci_runs_the_second_command_block_of_the_readme_in_the_root_of_the_tree_and_little_else() -> None:
    script = (PROJECT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for line in script.splitlines() if line and not line.startswith("#")]

    assert script.startswith("#!/usr/bin/env bash\n")
    assert commands == ["set -eu", 'cd "$(dirname "$0")/.."', BROWSER_COMMAND, *SECOND_COMMANDS.splitlines()]


def test_the_excerpt_in_the_readme_is_what_the_demo_prints(capsys: pytest.CaptureFixture[str]) -> None:
    excerpt = next(block for block in blocks("text") if "The first night" in block)

    code = demo.main()

    shown = capsys.readouterr().out.splitlines()
    assert code == 0, shown
    expected = [line for line in excerpt.splitlines() if line.strip() != "..."]
    assert [line for line in expected if line not in shown] == []
    places = [shown.index(line) for line in expected if line.startswith(("2.", "3.", "    George", "  Done"))]
    assert places == sorted(places)


def test_every_constant_in_config_has_a_comment_above_it() -> None:
    text = (PROJECT / "config.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    bare = []
    constants = []
    for node in ast.parse(text).body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        assert isinstance(target, ast.Name)
        constants.append(target.id)
        # Constants that belong together share the comment above the first of them, with no blank line between.
        above = list(reversed(lines[: node.lineno - 1]))
        paragraph = above[: above.index("")]
        if not any(line.startswith("# ") for line in paragraph):
            bare.append(target.id)

    assert bare == []
    assert constants == [setting.name for setting in dataclasses.fields(sync.Settings)]


def test_the_example_of_credentials_has_the_shape_the_script_accepts_and_holds_no_secret() -> None:
    text = (PROJECT / "credentials.json.example").read_text(encoding="utf-8")
    example: dict[str, dict[str, Any]] = json.loads(text)

    assert list(example) == ["installed"]
    client = example["installed"]
    flow = InstalledAppFlow.from_client_secrets_file(str(PROJECT / "credentials.json.example"), sync.SCOPES)
    assert flow.client_config == client
    assert client["client_id"] == "PUT-YOUR-CLIENT-ID-HERE.apps.googleusercontent.com"
    assert client["client_secret"] == "PUT-YOUR-CLIENT-SECRET-HERE"
    assert client["project_id"] == "put-your-project-here"
    rest = set(client) - {"client_id", "client_secret", "project_id", "redirect_uris"}
    assert all(re.fullmatch(r"https://[a-z0-9.]+\.(google|googleapis)\.com/[a-z0-9/]+", client[name]) for name in rest)


def test_what_holds_secrets_or_names_is_kept_out_of_git() -> None:
    ignored = (PROJECT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert {"credentials.json", "token.json", "StaffLog.txt", "runs/", ".venv/"} <= set(ignored)


def test_the_top_level_of_the_tree_holds_the_agreed_files_and_no_others() -> None:
    present = {path.name for path in PROJECT.iterdir()}

    assert present >= TOP_LEVEL
    assert tracked_names(PROJECT) <= TOP_LEVEL


def tracked_names(folder: Path) -> set[str]:
    """The top-level names that git keeps; nothing where the tree came without git."""
    git = shutil.which("git")
    if git is None or not (folder / ".git").exists():
        return set()
    answer = subprocess.run([git, "ls-files"], cwd=folder, capture_output=True, text=True, check=False)
    return {line.partition("/")[0] for line in answer.stdout.splitlines()}


def with_lines(source: str, lines: Sequence[str], *, below: str = "", above: str = "", at: str = "") -> str:
    """The source with these lines below or above the first line that begins so, or in the place of that one."""
    start = source.index(f"\n{below or above or at}") + 1
    end = source.index("\n", start) + 1
    head, tail = source[: end if below else start], source[start if above else end :]
    return head + "".join(f"{line}\n" for line in lines) + tail


def test_the_examples_of_how_to_change_it_work_as_they_stand_there(
    bed: Bed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rule, limit, attribute = (block.splitlines() for block in blocks("python"))
    source = with_lines(SOURCE, rule[1:2], below="    NUMERIC_ADDRESS = ")
    start = source.index("def skip_rule(")
    source = source[:start] + with_lines(source[start:], rule[2:], above="    return None")
    source = with_lines(source, limit, at='    "update": Kind(')
    source = with_lines(source, attribute, below="    EMPLOYEE_ID: ")
    bed.script = tmp_path_factory.mktemp("changed") / "sync.py"
    bed.script.write_text(source, encoding="utf-8")
    bed.settings["EXTENSION_COLUMNS"] = dict.fromkeys(("cell_phone", "work_phone"), "u_humanresources.cellphone")
    accounts = [settle(bed, 9000 + number, "Ada", f"Quill{LETTERS[number]}") for number in range(12)]
    person(bed, 7, "Stu", group=7)
    bed.settings["LIMITS"] = {**bed.setting("LIMITS"), "update": 11}
    outcome = bed.run()
    told(outcome, "INFO", 7, "student teacher")
    assert "update: 12 people, the limit is 11" in outcome.output
    outcome = bed.run("--allow", "update=12")
    assert bodies(outcome, accounts[0]) == [{"phones": [{"type": "work", "value": "847-555-9000"}]}]
    assert not at_rest(bed).writes
