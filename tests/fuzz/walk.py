"""Requests made of the server's own description and of what is in a repository: most of them sensible, some of them not.

Names come from a pool of things that are there, so that requests get past the first check; what an operation makes goes
into the pool. Everything follows from a random source: the same source, the same walk.
"""
import json
import urllib.parse

from arbitrary import header, number, quoted, text, value

PATHS = ["a", "b/c", "b/d/e", "b/", "/x", "x//y", "ü ß", "none", "_lakefs_actions/a.yaml", "n" * 1024]
MODIFIERS = ["", "", "", "", "@", "$", "~", "~1", "^", "^2", "~0", "~3^2~1"]
# Fields and parameters that name something, and what.
NAMES = {
    "source": "ref", "ref": "ref", "src_ref": "ref", "stop_at": "ref", "sourceRef": "ref", "leftRef": "ref", "rightRef": "ref", "commitId": "ref",
    "reference_id": "ref", "branch": "branch", "destinationBranch": "branch", "source_branch": "branch", "destination_branch": "branch",
    "branch_id": "branch", "default_branch": "branch", "path": "path", "src_path": "path", "dest_path": "path", "objects": "path", "paths": "path",
    "prefixes": "prefix", "prefix": "prefix", "after": "prefix", "location": "prefix", "destination": "prefix", "repository": "repository",
    "tag": "tag", "commit_id": "commit", "commit": "commit", "parents": "commit", "pull_request": "pull", "meta_range": "tree", "range": "tree",
    "object_id": "tree", "source_metarange": "tree", "metarange_id": "tree", "branches_meta_range_id": "tree", "tags_meta_range_id": "tree",
    "commits_meta_range_id": "tree", "physical_address": "address", "pattern": "pattern", "delimiter": "delimiter", "task_id": "task", "id": "task",
}  # fmt: skip


class Walk:
    def __init__(self, api, rng, repository, wild=0.12):
        self.api, self.rng, self.wild, self.made = api, rng, wild, 0
        self.pool = {
            "repository": [repository], "branch": ["main", "dev"], "tag": ["v1"], "commit": ["main"], "pull": ["x"], "tree": ["main"],
            "path": list(PATHS), "address": [f"local://{repository}/data/x", f"local://outside-{repository}/x"], "task": ["none"],
            "prefix": ["", "b/", "a", "b/d", "v", "m"], "pattern": ["main", "dev*", "*x*", "zz?"], "delimiter": ["/", "", "/d", "e"],
        }  # fmt: skip

    def fresh(self, kind):
        """A name that nothing has yet."""
        self.made += 1
        name = f"{kind}-{self.made}"
        if kind in ("branch", "tag"):
            self.keep(kind, name)
        return name

    def keep(self, kind, name):
        known = self.pool[kind]
        if name not in known:
            known.append(name)
            if len(known) > 12:
                del known[2]

    def named(self, kind):
        if kind == "ref":
            return self.rng.choice(self.pool[self.rng.choice(["branch", "branch", "tag", "commit"])]) + self.rng.choice(MODIFIERS)
        return self.rng.choice(self.pool[kind])

    def is_wild(self):
        return self.rng.random() < self.wild

    def scalar(self, name, schema, operation):
        """A value that a schema takes, and that means something under this name."""
        rng = self.rng
        if "enum" in schema:
            return rng.choice(schema["enum"])
        match schema.get("type"):
            case "boolean":
                return rng.random() < 0.5
            case "integer":
                low, high = schema.get("minimum", -3), schema.get("maximum", 100)
                return rng.choice([low, high, rng.randint(low, high), max(low, 0), max(low, 1)])
        if schema.get("format") == "date-time":
            return rng.choice(["2020-01-01T00:00:00Z", "2100-01-01T00:00:00+02:00"])
        if name == "Range":
            return rng.choice(["bytes=0-0", "bytes=1-", "bytes=-1", "bytes=5-2", "bytes=0-1,3-4", "bytes=-", f"bytes={rng.randrange(9)}-{rng.randrange(30)}"])
        if name == "storage_namespace":
            return f"local://{self.fresh('space')}{rng.randrange(1 << 40)}"
        if name == "name" or (name == "id" and operation == "createTag"):
            return self.fresh({"createBranch": "branch", "createTag": "tag"}.get(operation, f"made{rng.randrange(1 << 40)}"))
        if name in NAMES:
            return self.named(NAMES[name])
        return rng.choice(["", "x", "some text", "*", "é", text(rng).encode("utf-8", "replace").decode()])

    def body(self, schema, operation, name=""):
        schema = self.api.resolve(schema)
        if self.is_wild() and self.rng.random() < 0.3:
            return value(self.rng)
        match schema.get("type"):
            case "object":
                required = schema.get("required", [])
                out = {
                    field: self.body(inner, operation, field)
                    for field, inner in schema.get("properties", {}).items()
                    if self.rng.random() < (0.99 if field in required else 0.4)
                }
                if isinstance(schema.get("additionalProperties"), dict):
                    out |= {self.rng.choice(["k", "", "é", ".lakefs.x"]): "v" for _ in range(self.rng.randrange(3))}
                if self.is_wild():
                    out[text(self.rng)] = value(self.rng)
                return out
            case "array":
                return [self.body(schema["items"], operation, name) for _ in range(self.rng.randrange(max(schema.get("minItems", 0), 0), 4))]
        if self.is_wild() and schema.get("type") == "integer":
            return number(self.rng)
        return self.scalar(name, schema, operation)

    def query(self, operation):
        pairs = []
        for parameter in operation.of("query"):
            if self.rng.random() > (0.97 if parameter.get("required") else 0.45):
                continue
            schema, name = self.api.resolve(parameter["schema"]), parameter["name"]
            many = schema.get("type") == "array"
            for _ in range(self.rng.randrange(1, 3) if many else 2 if self.rng.random() < 0.01 else 1):
                if self.is_wild():
                    pairs.append(f"{name}={quoted(self.rng)}")
                else:
                    found = self.scalar(name, schema["items"] if many else schema, operation.id)
                    pairs.append(f"{name}={urllib.parse.quote(str(found))}")
        if self.is_wild():
            pairs.append(f"{quoted(self.rng)}={quoted(self.rng)}")
        self.rng.shuffle(pairs)
        return "&".join(pairs)

    def target(self, operation):
        path = operation.path
        for parameter in operation.of("path"):
            found = quoted(self.rng) if self.is_wild() else urllib.parse.quote(str(self.scalar(parameter["name"], parameter["schema"], operation.id)), safe="") or "x"
            path = path.replace("{" + parameter["name"] + "}", found)
        query = self.query(operation)
        return "/api/v1" + path + ("?" + query if query else "")

    def headers(self, operation):
        found = []
        for parameter in operation.of("header"):
            if self.rng.random() < 0.25:
                name = parameter["name"]
                sense = {"Range": [self.scalar(name, parameter["schema"], operation.id)], "Idempotency-Key": ["k0", "k1", "k2", "é", "k" * 255, "k" * 256]}
                sense = sense.get(name, ["*", '"x"', ""])
                found.append((name, header(self.rng) if self.is_wild() else self.rng.choice(sense)))
        return found

    def content(self, operation):
        """(headers, body) of a request."""
        if operation.json_body is not None:
            if not operation.body.get("required") and self.rng.random() < 0.2:
                return [], b""
            content = json.dumps(self.body(operation.json_body, operation.id)).encode()
            if self.is_wild() and self.rng.random() < 0.2:
                content = content[: self.rng.randrange(len(content) + 1)]
            kind = "application/json" if self.rng.random() < 0.98 else self.rng.choice(["text/plain", "application/json; charset=utf-8", "x"])
            return [("Content-Type", kind)], content
        if operation.body is None:
            return [], b""
        content = self.rng.randbytes(self.rng.choice([0, 1, 20, 300]))
        if self.rng.random() < 0.3:
            form = b'--x\r\nContent-Disposition: form-data; name="content"; filename="f"\r\n\r\n' + content + b"\r\n--x--\r\n"
            return [("Content-Type", "multipart/form-data; boundary=x")], form[: self.rng.choice([len(form), len(form), len(form), len(form) // 2])]
        return [("Content-Type", self.rng.choice(["application/octet-stream", "text/csv", "a b", "image/png"]))], content

    def learn(self, operation, status, answer):
        """Keeps what an answer names."""
        if status >= 300:
            return
        if operation.id == "createBranch":
            self.keep("commit", answer.decode())
            return
        try:
            answer = json.loads(answer)
        except ValueError:
            return
        if not isinstance(answer, dict):
            return
        if operation.id == "createPullRequest":
            self.keep("pull", answer["id"])
        for kind, key in [("commit", "reference"), ("commit", "commit_id"), ("tree", "meta_range_id"), ("address", "physical_address")]:
            if answer.get(key):
                self.keep(kind, answer[key])
        if "meta_range_id" in answer:
            self.keep("commit", answer["id"])
            self.keep("commit", answer["id"][:10])
        if operation.answers.get("202") and "id" in answer:
            self.keep("task", answer["id"])
