"""Texts, values and documents nobody should send, from a seed."""
import urllib.parse

NASTY = [
    "", ".", "..", "../..", "/", "//", "%00", "%2e%2e%2f", "%", "%zz", "~", "^", "main~", "main^9", "main~99999999999999999999", "main@", "main$",
    "@", "$", "main@{0}", "-", "*", "?", "[", "'", '"', "\\", "\x00", "\n", "\r\nX: y", "\x7f", "null", "undefined", "0", "-1", "1e9", "9" * 30,
    "-9223372036854775809", "NaN", "true", "True", "é", "💥", "\u202e", "\ufeff", "\ud800", "a" * 300, "a" * 1024, "a" * 1025, "a" * 5000, "é" * 600,
    "local://", "local:///etc/passwd", "local://../../etc", "s3://b", "a" * 64, "0" * 64, "g" * 64, "_lakebed/tree/x", "<a>", "&amp;", "]]>", "{{", "${x}",
]  # fmt: skip
PLAIN = ["main", "canary", "master", "refs", "data/x", "v1"]


def text(rng):
    kind = rng.randrange(10)
    if kind < 5:
        return rng.choice(NASTY)
    if kind < 7:
        return rng.choice(PLAIN)
    if kind < 8:
        return "".join(chr(rng.randrange(128)) for _ in range(rng.randrange(40)))
    return "".join(chr(rng.choice([rng.randrange(0x20, 0xD800), rng.randrange(0x10000, 0x110000)])) for _ in range(rng.randrange(30)))


def quoted(rng):
    """A text as a part of a URL: escaped, escaped badly, or bytes that are no text."""
    kind = rng.randrange(8)
    if kind == 0:
        return "".join(f"%{rng.randrange(256):02x}" for _ in range(rng.randrange(1, 20)))
    if kind == 1:
        return rng.choice(["%", "%f", "%zz", "%u0041", "a%", "%%%"])
    return urllib.parse.quote(text(rng).encode("utf-8", "surrogatepass"), safe="") or "x"


def number(rng):
    return rng.choice([0, 1, -1, 2**31, 2**63, -(2**63) - 1, 2**64, 10**30, 0.5, -0.0, 1e308])


def value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 5)
    if kind < 2:
        return text(rng)
    if kind < 5:
        return [number(rng), None, rng.random() < 0.5][kind - 2]
    if kind < 7:
        return {text(rng): value(rng, depth + 1) for _ in range(rng.randrange(4))}
    return [value(rng, depth + 1) for _ in range(rng.randrange(4))]


def header(rng):
    """A header's value: anything that HTTP lets stand there."""
    line = text(rng).encode("utf-8", "surrogatepass")
    return bytes(byte for byte in line if byte >= 32 and byte != 127)[:8000]


def damaged(rng, content):
    """A document with some bytes replaced, left out or repeated."""
    content = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        if not content:
            break
        at = rng.randrange(len(content))
        match rng.randrange(4):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                del content[at : at + rng.randrange(1, 10)]
            case 2:
                content[at:at] = content[at : at + rng.randrange(1, 30)] * rng.randrange(1, 4)
            case 3:
                del content[at:]
    return bytes(content)
