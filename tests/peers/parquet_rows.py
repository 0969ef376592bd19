"""Data sets as Parquet files, laid out by Hugging Face's datasets library, with the columns of public ones.

    /opt/pt/bin/python tests/peers/parquet_rows.py tests/fixtures/conversations

The contents are made up and harmless; `beavertails.parquet` has the columns of PKU-Alignment/BeaverTails,
`messages.parquet` those of chat data sets.
"""

import pathlib
import sys

import pyarrow.parquet
from datasets import Dataset

folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)


def write(rows, name, compression):
    table = Dataset.from_list(rows).data.table
    pyarrow.parquet.write_table(table, folder / name, compression=compression)


CATEGORIES = [
    "animal_abuse", "child_abuse", "controversial_topics,politics", "discrimination,stereotype,injustice",
    "drug_abuse,weapons,banned_substance", "financial_crime,property_crime,theft",
    "hate_speech,offensive_language", "misinformation_regarding_ethics,laws_and_safety",
    "non_violent_unethical_behavior", "privacy_violation", "self_harm", "sexually_explicit,adult_content",
    "terrorism,organized_crime", "violence,aiding_and_abetting,incitement",
]


def row(number, *categories):
    return {
        "prompt": f"Question {number}?",
        "response": f"Answer {number}: é 東京 🚀",
        "category": {name: name in categories for name in CATEGORIES},
        "is_safe": not categories,
    }


beavertails = [
    row(1),
    row(2, "privacy_violation"),
    row(3, "animal_abuse", "privacy_violation"),
    row(4, "financial_crime,property_crime,theft"),
    row(5),
]
write(beavertails, "beavertails.parquet", "snappy")

turns = ["Hi", "Hello!", "Who are you?", "A model."]
messages = [
    {"id": f"chat-{count}", "messages": [
        {"role": ["user", "assistant"][at % 2], "content": turn} for at, turn in enumerate(turns[:count])
    ]}
    for count in (2, 4)
]
write(messages, "messages.parquet", "zstd")
