"""Rows as the field hands them around: folders of Hugging Face's datasets library, Arrow files, compressed lines.

    python tests/peers/saved_rows.py tests/fixtures/conversations

Written with datasets 5.2.0 and pyarrow 26.0.1, xz 5.4, zstd 1.5, bzip2 1.0.8, gzip 1.12. The contents are made up and
harmless.
"""

import pathlib
import shutil
import subprocess
import sys

import pyarrow.parquet
from datasets import Dataset

folder = pathlib.Path(sys.argv[1])


def row(number):
    return {
        "prompt": f"Question {number}?",
        "response": f"Answer {number}: é 東京 🚀",
        "category": {"first": number % 2 == 0, "second": number % 2 == 1},
        "score": None if number == 3 else number / 2,
    }


rows = [row(number) for number in range(1, 6)]
saved = folder / "saved"
shutil.rmtree(saved, ignore_errors=True)
Dataset.from_list(rows).save_to_disk(saved, num_shards=2)
# What `map` leaves beside the shards of a folder that was loaded again is no part of it.
shutil.copy(saved / "data-00000-of-00002.arrow", saved / "cache-0123456789abcdef.arrow")

table = Dataset.from_list(rows).data.table
for name, compression in [("rows.arrow", None), ("rows-lz4.arrow", "lz4"), ("rows-zstd.arrow", "zstd")]:
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with pyarrow.ipc.new_file(folder / name, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=2)

one = pyarrow.table({"prompt": ["a"], "response": ["b"]})
pyarrow.parquet.write_table(one, folder / "brotli.parquet", compression="brotli")

lines = folder / "rows.jsonl"
Dataset.from_list(rows).to_json(lines)
for command in (["gzip", "-n"], ["zstd", "-q"], ["xz"], ["bzip2"]):
    subprocess.run([*command, "-9", "-f", "-k", lines], check=True)
lines.unlink()
