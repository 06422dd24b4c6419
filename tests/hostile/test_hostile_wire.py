"""What is no HTTP at all, or not quite: the connection ends, with or without a refusal; the server goes on."""
import pytest

from doors import BASIC, Door
from wire import exchange

AUTH = f"Authorization: {BASIC}\r\n".encode()
START = b"GET /api/v1/repositories HTTP/1.1\r\nHost: x\r\n" + AUTH
BROKEN = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\r\n\r\n\r\n ", b"GET / HTTP/9.9\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nbroken\r\n\r\n",
    b"GET /" + b"a" * 300_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", START + b"X: y\r\n" * 500 + b"\r\n", START + b"X: " + b"y" * 300_000 + b"\r\n\r\n",
    START + b"X: a\x00b\r\n\r\n", START + b"X: a\x7fb\r\n\r\n", START + b"X y: z\r\n\r\n", START + b" folded\r\n\r\n", START + b"Content-Length: -1\r\n\r\n",
    START + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", START + b"Content-Length: 99999999999999999999\r\n\r\n", START + b"Transfer-Encoding: x\r\n\r\n",
    START + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET http://other/ HTTP/1.1\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 200, b"GET /%ff%fe/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("sent", BROKEN, ids=range(len(BROKEN)))
def test_broken_requests_are_no_fault_of_the_server(canary, server, sent):
    for half_close in (True, False) if sent.endswith(b"\r\n\r\n") else (True,):
        answer = exchange(server.port, sent, half_close=half_close)
        assert answer is None or answer.status < 500, answer
    assert Door(server.port).rest("GET", f"/repositories/{canary}")[0] == 200


def test_garbage(rng, canary, server, rounds):
    for _ in range(rounds // 5):
        start = rng.choice([b"", START, b"GET ", b"PUT /x HTTP/1.1\r\n"])
        answer = exchange(server.port, start + rng.randbytes(rng.randrange(1, 300)) + b"\r\n\r\n", half_close=True)
        assert answer is None or answer.status < 500, answer
    assert Door(server.port).rest("GET", f"/repositories/{canary}")[0] == 200
