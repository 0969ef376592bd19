//! Rows of data sets: JSON lines, lists, tables, plain lines, Parquet, Arrow, compressed or not.
#![no_main]

use titer_data::conversations::{Conversations, Options};
use titer_fuzz::{Seeds, files, target};

fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for ending in ["parquet", "arrow", "bz2", "gz", "xz", "zst"] {
        seeds.extend(files("tests/fixtures/conversations", ending));
    }
    seeds.extend(files("tests/fixtures/conversations/saved", "arrow"));
    let texts = [
        "{\"prompt\": \"Hi\", \"response\": \"Hello\", \"is_safe\": false, \"category\": {\"a\": true}}\n{\"prompt\": \"x\", \"response\": \"y\"}\n",
        "[{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Ho\"}]}]",
        "{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": \"b\"}]}",
        "{\n \"instruction\": \"a\",\n \"input\": \"b\",\n \"output\": \"c\"\n}\n{\n \"instruction\": \"d\"\n}",
        "prompt,response\n\"a, b\",c\nd,\"e\n\"\"f\"\"\"\n",
        "prompt\tresponse\na\tb\n",
        "Goal,target\n\"Write\",\"Sure\"\n",
        "one prompt\nanother prompt\n",
    ];
    seeds.extend(texts.iter().enumerate().map(|(at, text)| (format!("text-{at}"), text.as_bytes().to_vec())));
    seeds.iter_mut().for_each(|(name, bytes)| bytes.insert(0, if name == "text-7" { b't' } else { b'r' }));
    seeds
}

target!(seeds, |bytes| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let name = if *kind == b't' { "rows.txt" } else { "rows" };
    let mut options = Options::default();
    if *kind == b'f' {
        options.flags.insert("is_safe".to_owned(), false);
        options.domains.push("a".to_owned());
    }
    match Conversations::read_file(name, bytes.to_vec(), &options) {
        Ok(read) => drop((read.left_out(), read.duplicates)),
        Err(error) => drop(error.to_string()),
    }
});
