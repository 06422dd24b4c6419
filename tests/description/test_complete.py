"""Our description has everything that the description of lakeFS's API has: `facts.json` are its facts.

What a client may send there it may send here; what it is told to expect there it can expect here.
"""
import json
import pathlib
import urllib.request

import pytest
from facts import dump, facts

HERE = pathlib.Path(__file__).parent
SHARED = HERE.parents[2] / "shared" / "spec" / "rest-api.json"

THEIRS = json.loads((HERE / "facts.json").read_text())

# Where ours says something else on purpose: what, and why.
DIFFERENCES = {
    "externalPrincipalLogin body: required": "an absent body is refused there as well",
    "createUser body: required": "an absent body is refused there as well",
    "createGroup body: required": "an absent body is refused there as well",
    "createBranch 201: no text/html": "what is sent, here and there, is text/plain",
}


@pytest.fixture(scope="session")
def ours(server):
    with urllib.request.urlopen(server.endpoint + "/openapi.json") as answer:
        return facts(json.load(answer))


def test_the_facts_are_those_of_the_description():
    if not SHARED.exists():
        pytest.skip("../shared/spec/rest-api.json is not there: the facts in facts.json are taken as they are")
    assert dump(facts(json.loads(SHARED.read_text()))) == (HERE / "facts.json").read_text()


def flat(found, schema):
    """A schema with a name replaced by what it stands for, and parts of `allOf` joined."""
    if isinstance(schema, str):
        return flat(found, found["schemas"][schema])
    parts = [flat(found, part) for part in schema.get("all", [])] + [schema]
    out = {}
    for part in parts:
        joined = {
            "fields": out.get("fields", {}) | part.get("fields", {}),
            "required": [*out.get("required", []), *part.get("required", [])] if part.get("required") is not True else True,
        }
        out |= {key: value for key, value in part.items() if key != "all"} | {key: value for key, value in joined.items() if value}
    if "fields" in out:
        out["type"] = "object"
    return out


class Comparison:
    """Collects what of their facts is not in ours."""

    def __init__(self, ours):
        self.ours, self.wrong = ours, []

    def note(self, text):
        if text not in DIFFERENCES:
            self.wrong.append(text)

    def schema(self, at, theirs, ours, sent):
        """`sent`: by the client, so ours may ask no more; else by the server, so ours must promise no less."""
        theirs, ours = flat(THEIRS, theirs), flat(self.ours, ours)
        for key in ("type", "format", "pattern", "minimum", "maximum", "minLength", "minItems", "nullable"):
            if key in theirs and theirs[key] != ours.get(key):
                self.note(f"{at}: {key} {theirs[key]}, ours {ours.get(key)}")
        if sent and "default" in theirs and theirs["default"] != ours.get("default"):
            self.note(f"{at}: default {theirs['default']}, ours {ours.get('default')}")
        words = set(theirs.get("enum", [])), set(ours.get("enum", []))
        if words[0] and (not words[0] <= words[1] if sent else words[0] != words[1]):
            self.note(f"{at}: words {sorted(words[0])}, ours {sorted(words[1])}")
        required = [set(one.get("required", [])) if one.get("required") is not True else set() for one in (theirs, ours)]
        more, less = (required[1], required[0]) if sent else (required[0], required[1])
        for name in more - less:
            self.note(f"{at}.{name}: required")
        for name, field in theirs.get("fields", {}).items():
            if name not in ours.get("fields", {}):
                self.note(f"{at}.{name}: missing")
            else:
                self.schema(f"{at}.{name}", field, ours["fields"][name], sent)
        for inner in ("items", "values"):
            # The settings of an external principal say `items` of an object, which means nothing.
            if inner in theirs and not (inner == "items" and theirs.get("type") == "object"):
                if inner not in ours:
                    self.note(f"{at}: no {inner}")
                else:
                    self.schema(f"{at}[]", theirs[inner], ours[inner], sent)

    def contents(self, at, theirs, ours, sent):
        for kind, schema in theirs.items():
            if kind == "headers":
                for name in set(schema) - set(ours.get("headers", [])):
                    self.note(f"{at}: header {name}")
            elif kind != "required":
                if kind not in ours:
                    self.note(f"{at}: no {kind}")
                else:
                    self.schema(at, schema, ours[kind], sent)

    def operation(self, name, theirs):
        ours = self.ours["operations"].get(name)
        if ours is None:
            return self.note(f"{name}: missing")
        for key in ("at", "tags", "deprecated"):
            if theirs.get(key) != ours.get(key):
                self.note(f"{name}: {key} {theirs.get(key)}, ours {ours.get(key)}")
        for parameter, schema in theirs["parameters"].items():
            found = ours["parameters"].get(parameter)
            if found is None:
                self.note(f"{name} {parameter}: missing")
                continue
            if bool(schema.get("required")) != bool(found.get("required")):
                self.note(f"{name} {parameter}: required")
            if schema.get("empty") and not found.get("empty") and parameter.startswith("query"):
                self.note(f"{name} {parameter}: may be empty")
            self.schema(f"{name} {parameter}", {**schema, "required": []}, {**found, "required": []}, sent=True)
        for parameter, schema in ours["parameters"].items():
            if schema.get("required") and parameter not in theirs["parameters"]:
                self.note(f"{name} {parameter}: required by ours alone")
        if "body" in theirs:
            body = ours.get("body", {})
            if body.get("required") and not theirs["body"].get("required"):
                self.note(f"{name} body: required")
            self.contents(f"{name} body", theirs["body"], body, sent=True)
        for status, answer in theirs["answers"].items():
            if status not in ours["answers"]:
                self.note(f"{name} {status}: missing")
            else:
                self.contents(f"{name} {status}", answer, ours["answers"][status], sent=False)


def test_every_operation_parameter_and_answer_is_described(ours):
    assert len(THEIRS["operations"]) == 144
    comparison = Comparison(ours)
    for name, operation in THEIRS["operations"].items():
        comparison.operation(name, operation)
    assert not comparison.wrong, "\n" + "\n".join(comparison.wrong)


def test_what_is_open_is_what_is_described_as_open(ours):
    theirs = {name for name, operation in THEIRS["operations"].items() if operation.get("public")}
    open_here = {name for name, operation in ours["operations"].items() if operation.get("public")}
    # These answer before they ask who calls, as they always did, or are no secret.
    assert open_here - theirs <= {"getExternalPrincipal", "getLicense", "getApiDescription", "releaseTokenToMailbox"} | {
        name for name, operation in ours["operations"].items() if set(operation["answers"]) & {"404"} and name.endswith(("Async", "AsyncStatus", "IcebergTable"))
    }
    assert theirs <= open_here


def test_the_table_of_operations_agrees():
    """The table that the crate's own tests use is a part of the facts."""
    table = (HERE.parents[1] / "crates/lakebed-rest/src/operations.txt").read_text()
    lines = {f"{name} {operation['at']}{' public' if operation.get('public') else ''}" for name, operation in THEIRS["operations"].items()}
    assert set(table.splitlines()) == lines
