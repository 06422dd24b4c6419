"""The facts of an OpenAPI document: operations, parameters, bodies, answers, schemas - without a word of prose.

`facts.py DOCUMENT` prints them, one operation or schema a line: that is how `facts.json` was made of the description of
the API that clients of lakeFS know.
"""
import json
import sys

METHODS = ("get", "head", "post", "put", "patch", "delete")
KEPT = ("type", "format", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default", "nullable", "required")


def deref(document, value):
    while "$ref" in value:
        at = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            at = at[part]
        value = at
    return value


def schema(value):
    """A schema's facts; references stay names."""
    if "$ref" in value:
        return value["$ref"].rsplit("/", 1)[1]
    out = {key: value[key] for key in KEPT if key in value}
    if "allOf" in value:
        out["all"] = [schema(part) for part in value["allOf"]]
    if "properties" in value:
        out["fields"] = {name: schema(field) for name, field in value["properties"].items()}
    if "items" in value:
        out["items"] = schema(value["items"])
    if isinstance(value.get("additionalProperties"), dict):
        out["values"] = schema(value["additionalProperties"])
    return out


def contents(value):
    return {kind: schema(content["schema"]) for kind, content in value.get("content", {}).items()}


def facts(document):
    operations = {}
    for path, item in document["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            operation = item[method]
            parameters = {}
            for parameter in item.get("parameters", []) + operation.get("parameters", []):
                parameter = deref(document, parameter)
                parameters[f"{parameter['in']} {parameter['name']}"] = schema(parameter["schema"]) | {
                    key: True for key, found in (("required", "required"), ("empty", "allowEmptyValue"), ("deprecated", "deprecated")) if parameter.get(found)
                }
            answers = {}
            for status, answer in operation["responses"].items():
                answer = deref(document, answer)
                answers[status] = contents(answer) | ({"headers": sorted(answer["headers"])} if "headers" in answer else {})
            fact = {"at": f"{method.upper()} {path}", "tags": operation["tags"], "parameters": parameters, "answers": answers}
            if "requestBody" in operation:
                body = deref(document, operation["requestBody"])
                fact["body"] = contents(body) | ({"required": True} if body.get("required") else {})
            if operation.get("deprecated"):
                fact["deprecated"] = True
            if operation.get("security") == []:
                fact["public"] = True
            operations[operation["operationId"]] = fact
    schemas = {name: schema(value) for name, value in document["components"]["schemas"].items()}
    return {"operations": operations, "schemas": schemas}


def dump(found):
    parts = []
    for kind, entries in found.items():
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(entry, sort_keys=True)}" for name, entry in sorted(entries.items()))
        parts.append(f"{json.dumps(kind)}: {{\n{lines}\n}}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    with open(sys.argv[1]) as file:
        sys.stdout.write(dump(facts(json.load(file))))
