#!/usr/bin/env python3
"""Makes the sample data that new repositories may be filled with: synthetic, deterministic, CC0.

    scripts/make_sample_data.py        needs pyarrow; writes crates/lakebed-rest/assets/sample
"""
import math
import pathlib
import random
import struct
import zlib

import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).parent.parent / "crates" / "lakebed-rest" / "assets" / "sample"
COUNTRIES = ["Argentina", "Australia", "Austria", "Brazil", "Canada", "Chile", "China", "Estonia", "Ethiopia", "Finland",
             "France", "Germany", "Iceland", "India", "Italy", "Japan", "Kenya", "Mexico", "Nepal", "New Zealand", "Norway",
             "Peru", "Poland", "Sweden", "Switzerland", "Tanzania", "Turkey", "Uganda", "United States"]
FIRST = ["Amber", "Birch", "Clear", "Crane", "Deer", "Echo", "Fern", "Granite", "Heron", "Iron", "Juniper", "Kettle", "Long",
         "Mirror", "Moss", "North", "Otter", "Pine", "Quiet", "Reed", "Silver", "Stone", "Swan", "Thunder", "Willow"]
SECOND = ["Basin", "Bay", "Hollow", "Lake", "Mere", "Pond", "Pool", "Reservoir", "Tarn", "Water"]


def lakes(rng):
    rows = 36_000
    weights = [1 / (n + 2) for n in range(len(COUNTRIES))]
    order = rng.sample(COUNTRIES, len(COUNTRIES))
    return pa.table({
        "Hylak_id": pa.array(range(1, rows + 1), pa.int32()),
        "Lake_name": [f"{rng.choice(FIRST)} {rng.choice(SECOND)} {rng.randrange(1000)}" for _ in range(rows)],
        "Country": rng.choices(order, weights, k=rows),
        "Depth_m": pa.array([round(rng.lognormvariate(1.8, 0.9), 1) for _ in range(rows)], pa.float64()),
    })


def png(rng, width=120, height=90):
    """Contour lines of a made-up lake bed."""
    hills = [(rng.uniform(0, width), rng.uniform(0, height), rng.uniform(8, 40), rng.uniform(-1, 1)) for _ in range(9)]
    tint = [rng.uniform(0.4, 1) for _ in range(3)]
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            z = sum(h * math.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * s * s)) for a, b, s, h in hills)
            line = 40 if abs((z * 12) % 1 - 0.5) < 0.06 else 0
            level = 150 + 70 * z + rng.uniform(-6, 6) - line
            rows += bytes(max(0, min(255, int(level * t))) for t in tint)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(rows), 9)) + chunk(b"IEND", b"")


def main():
    rng = random.Random(20260101)
    (OUT / "images").mkdir(parents=True, exist_ok=True)
    pq.write_table(lakes(rng), OUT / "lakes.parquet", compression="snappy")
    for n in range(29):
        (OUT / "images" / f"lake-bed-{n + 1:02}.png").write_bytes(png(rng))


if __name__ == "__main__":
    main()
