"""DynamoDB for tests: moto, made to keep what the service promises and moto does not, over HTTP on a port of its own.

- Requests are decided one after the other; moto's tables may be seen in the middle of a transaction.
- A transaction that is sent again with the token of one that succeeded has succeeded, and happens once.
- A query looks at its partition alone, and a cancelled transaction puts back what it wrote without copying every item of the table.

`POST /faults` with `{"fault": ..., "count": n}` makes the next writes go wrong: `throttle`, `conflict` (refused, nothing happened),
`before`, `after` (500: it did not happen, or it did). In a test's own process, `trouble` is what happens to every request, until
it is None again: `cut` (its connection ends, nothing happened), `silence` (it is decided when that is over).

As a program it prints its address and serves until its input ends."""
import collections
import json
import os
import socket
import sys
import threading

os.environ.setdefault("MOTO_ALLOW_NONEXISTENT_REGION", "true")

import moto.dynamodb.models as models
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

WRITES = {"TransactWriteItems", "PutItem", "DeleteItem"}
SERVICE = "com.amazonaws.dynamodb.v20120810#"


class Shallow:
    """In place of the module `copy`: a table's items are replaced by puts and deletes, never changed."""

    @staticmethod
    def deepcopy(table):
        kept = models.copy.shallow(table)
        kept.items = collections.defaultdict(dict, {partition: dict(items) for partition, items in table.items.items()})
        return kept

    @staticmethod
    def shallow(table):
        kept = object.__new__(type(table))
        kept.__dict__.update(table.__dict__)
        return kept

    @staticmethod
    def copy(value):
        import copy

        return copy.copy(value)


def of_one_partition(query):
    """moto's query looks at every item of the table; here at those of the partition it is about."""

    def quick(table, hash_key, *arguments, **more):
        table.all_items = lambda: list(table.items.get(hash_key, {}).values())
        try:
            return query(table, hash_key, *arguments, **more)
        finally:
            del table.all_items

    return quick


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


class Emulator:
    def __init__(self):
        models.copy = Shallow
        if models.Table.query.__name__ != "quick":
            models.Table.query = of_one_partition(models.Table.query)
        self.app = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.Lock()
        self.done = {}
        self.faults = []
        self.trouble, self.suffered, self.at_work, self.changed = None, 0, 0, threading.Condition()
        self.server = make_server("127.0.0.1", 0, self.serve, threaded=True, request_handler=Quiet)
        self.port = self.server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def suffer(self, trouble):
        with self.changed:
            self.trouble = trouble
            self.changed.notify_all()

    def until_suffered(self, requests):
        """Waits until the trouble has met so many requests."""
        with self.changed:
            so_far = self.suffered
            assert self.changed.wait_for(lambda: self.suffered >= so_far + requests, 30)

    def settle(self):
        """Waits until every request that came is decided, also of servers that are no more."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.at_work == 0, 30)

    def serve(self, environ, start):
        with self.changed:
            self.at_work += 1
            self.suffered += self.trouble is not None
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.trouble != "silence")
            trouble = self.trouble
        try:
            if trouble == "cut":
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionResetError
            return self.decide(environ, start)
        finally:
            with self.changed:
                self.at_work -= 1
                self.changed.notify_all()

    def decide(self, environ, start):
        def answer(status, body):
            body = json.dumps(body).encode()
            start(status, [("content-type", "application/x-amz-json-1.0"), ("content-length", str(len(body)))])
            return [body]

        def refused(kind, **more):
            return answer("400 Bad Request", {"__type": SERVICE + kind, "message": "as ordered"} | more)

        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        operation = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        with self.lock:
            if environ["PATH_INFO"] == "/faults":
                order = json.loads(body)
                self.faults += [order["fault"]] * order["count"]
                return answer("200 OK", {})
            fault = self.faults.pop(0) if operation in WRITES and self.faults else None
            if fault == "throttle":
                return refused("ThrottlingException")
            if fault == "conflict" and operation == "TransactWriteItems":
                actions = json.loads(body)["TransactItems"]
                return refused("TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}] + [{"Code": "None"}] * (len(actions) - 1))
            if fault == "conflict":
                return refused("TransactionConflictException")
            if fault == "before":
                return answer("500 Internal Server Error", {"__type": SERVICE + "InternalServerError"})
            token = json.loads(body).get("ClientRequestToken") if operation == "TransactWriteItems" else None
            if token in self.done:
                if self.done[token] != body:
                    return refused("IdempotentParameterMismatchException")
                status, headers, said = "200 OK", [("content-type", "application/x-amz-json-1.0")], b"{}"
            else:
                status, headers, said = self.ask(environ, body)
                if token and status.startswith("200"):
                    self.done[token] = body
            if fault == "after":
                return answer("500 Internal Server Error", {"__type": SERVICE + "InternalServerError"})
        headers = [(name, value) for name, value in headers if name.lower() != "content-length"]
        start(status, [*headers, ("content-length", str(len(said)))])
        return [said]

    def ask(self, environ, body):
        import io

        said = {}

        def start(status, headers, _=None):
            said["status"], said["headers"] = status, headers

        chunks = self.app(environ | {"wsgi.input": io.BytesIO(body)}, start)
        return said["status"], said["headers"], b"".join(chunks)

    def section(self, **more):
        """The section of a server's configuration."""
        access = {"aws_region": "us-east-1", "aws_access_key_id": "AKIAEMULATED", "aws_secret_access_key": "emulated"}
        return {"type": "dynamodb", "dynamodb": {"endpoint": self.endpoint, **access, **more}}

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()


if __name__ == "__main__":
    with Emulator() as running:
        print(running.endpoint, flush=True)
        sys.stdin.read()
