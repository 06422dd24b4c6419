"""The server's own description, as suites use it: operations, and whether an answer is one that is described.

Standard library only.
"""
import json
import re
import urllib.request

METHODS = ("get", "head", "post", "put", "patch", "delete")
TYPES = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict}
DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")


class Operation:
    def __init__(self, api, path, method, described):
        self.api, self.path, self.method = api, path, method.upper()
        self.id, self.answers, self.public = described["operationId"], described["responses"], described.get("security") == []
        ours = described.get("x-lakebed", {})
        self.served, self.unknown = ours.get("served", True), ours.get("answers") == 404
        self.parameters = described["parameters"]
        self.body = described.get("requestBody")

    def __repr__(self):
        return self.id

    def of(self, place):
        return [parameter for parameter in self.parameters if parameter["in"] == place]

    @property
    def json_body(self):
        """The schema of a JSON body, if it takes one."""
        content = (self.body or {}).get("content", {})
        return content["application/json"]["schema"] if "application/json" in content else None

    def wrong(self, status, kind, content):
        """What is wrong with an answer, or nothing: it must be described, and no fault of the server's."""
        described = self.answers.get(str(status))
        if described is None:
            return f"the status {status} is not described"
        if status >= 500 and status != 501:
            return f"a fault of the server: {status}"
        if self.method == "HEAD":
            return "a HEAD has a body" if content else None
        kinds = described.get("content", {})
        if not kinds:
            return "a body that is not described" if content else None
        kind = kind.split(";")[0].strip()
        if not content and status == 404 and not kind:
            return None  # one deprecated operation says nothing more
        if "application/octet-stream" in kinds and status < 300:
            return None  # an object has the type that it was stored with
        if kind not in kinds:
            return f"the content type {kind!r} is not described"
        if kind == "application/json":
            return self.api.mismatch(kinds[kind]["schema"], json.loads(content))
        return None


class Api:
    """The description of the server at an endpoint."""

    def __init__(self, endpoint):
        with urllib.request.urlopen(endpoint + "/openapi.json") as answer:
            self.document = json.load(answer)
        self.operations = [
            Operation(self, path, method, item[method]) for path, item in self.document["paths"].items() for method in METHODS if method in item
        ]

    def resolve(self, schema):
        """A schema with references followed and `allOf` of one taken apart."""
        while True:
            if "$ref" in schema:
                schema = self.document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
            elif len(schema.get("allOf", [])) == 1:
                schema = schema["allOf"][0]
            else:
                return schema

    def mismatch(self, schema, value, at="$"):
        """Where a value is not what a schema says, or nothing."""
        if value is None and (schema.get("nullable") or self.resolve(schema).get("nullable")):
            return None
        schema = self.resolve(schema)
        kind = schema.get("type")
        if kind and (not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
            return f"{at}: {value!r} is no {kind}"
        if "enum" in schema and value not in schema["enum"]:
            return f"{at}: {value!r} is none of {schema['enum']}"
        if kind == "integer" and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
            return f"{at}: {value} is out of range"
        if kind == "string":
            if len(value) < schema.get("minLength", 0) or ("pattern" in schema and not re.search(schema["pattern"], value)):
                return f"{at}: {value!r} does not match"
            if schema.get("format") == "date-time" and not DATE_TIME.match(value):
                return f"{at}: {value!r} is no date-time"
        if kind == "array":
            for index, item in enumerate(value):
                if wrong := self.mismatch(schema["items"], item, f"{at}[{index}]"):
                    return wrong
        if kind == "object":
            fields, others = schema.get("properties", {}), schema.get("additionalProperties")
            if missing := set(schema.get("required", [])) - set(value):
                return f"{at}: {missing} missing"
            for name, item in value.items():
                inner = fields.get(name, others if isinstance(others, dict) else None)
                if inner is not None and (wrong := self.mismatch(inner, item, f"{at}.{name}")):
                    return wrong
        return None
