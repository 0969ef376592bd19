//! Corruptions of a finished store, drawn at random: some blind, some by someone who rewrites sums and seals.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::prelude::{BooleanChunked, Column, DataFrame, NamedFrom, Series};
use serde_json::{Value, json};
use titer_metrics::{PROBE_ROWS, RESPONSES, Schema, TRAINING_ROWS, read_parquet, write_parquet};

/// Random numbers: SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count as u64).expect("it fits")
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// A store to be corrupted and to be as it was again.
pub(crate) struct Victim {
    pub(crate) root: PathBuf,
    whole: BTreeMap<PathBuf, Vec<u8>>,
    touched: Vec<PathBuf>,
}

/// What is no part of a claim: what runs said, and were asked.
const NO_PART: [&str; 3] = ["journal.jsonl", "store.lock", "control.json"];

impl Victim {
    pub(crate) fn new(root: PathBuf) -> Self {
        let mut whole = BTreeMap::new();
        gather(&root, &mut whole);
        whole.retain(|path, _| !NO_PART.contains(&name(path).as_str()));
        Self { root, whole, touched: Vec::new() }
    }

    pub(crate) fn restore(&mut self) {
        for path in std::mem::take(&mut self.touched) {
            match self.whole.get(&path) {
                Some(bytes) => fs::write(&path, bytes).expect("written"),
                None => fs::remove_file(&path).expect("removed"),
            }
        }
    }

    pub(crate) fn write(&mut self, path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).expect("written");
        self.touched.push(path.to_owned());
    }

    /// The files called so.
    pub(crate) fn called(&self, wanted: &str) -> Vec<PathBuf> {
        self.whole.keys().filter(|path| name(path) == wanted).cloned().collect()
    }

    fn json(&self, path: &Path) -> Value {
        serde_json::from_slice(&fs::read(path).expect("readable")).expect("JSON")
    }

    /// The one file of the experiment that is called so.
    pub(crate) fn of_experiment(&self, wanted: &str) -> PathBuf {
        self.called(wanted).pop().expect("it is there")
    }

    /// Rewrites a JSON file with its sum.
    pub(crate) fn write_json(&mut self, path: &Path, mut value: Value) {
        value.as_object_mut().expect("an object").remove("blake3");
        let text = serde_json::to_string_pretty(&value).expect("JSON");
        let sum = blake3::hash(text.as_bytes());
        let head = text.strip_suffix('}').expect("an object");
        self.write(path, format!("{head},\"blake3\":\"{}\"}}\n", sum.to_hex()).as_bytes());
    }

    /// Changes a manifest and seals the artifact anew; first its records of files are made those of the files.
    pub(crate) fn reseal(&mut self, manifest: &Path, edit: impl FnOnce(&mut Value)) {
        let folder = manifest.parent().expect("a folder").to_owned();
        let mut value = self.json(manifest);
        let record = |file: &mut Value| {
            let bytes = fs::read(folder.join(file["name"].as_str().expect("a name"))).expect("readable");
            file["size"] = json!(bytes.len());
            file["blake3"] = json!(blake3::hash(&bytes).to_hex().as_str());
        };
        value["files"].as_array_mut().expect("files").iter_mut().for_each(record);
        record(&mut value["log"]);
        edit(&mut value);
        let text = serde_json::to_string_pretty(&value).expect("JSON") + "\n";
        self.write(manifest, text.as_bytes());
        let seal = blake3::hash(text.as_bytes()).to_hex();
        self.write(&folder.join("SEALED"), seal.as_bytes());
    }

    /// Changes a frame, and all that is written of it.
    pub(crate) fn reframe(&mut self, path: &Path, edit: impl FnOnce(DataFrame) -> DataFrame) {
        let schema = schema(path);
        let frame = read_parquet(File::open(path).expect("readable"), schema).expect("a frame");
        let mut bytes = Vec::new();
        write_parquet(&edit(frame), schema, &mut bytes).expect("fits");
        self.write(path, &bytes);
        let manifest = path.with_file_name("manifest.json");
        self.reseal(&manifest, |_| {});
    }

    /// Corrupts the store in the way of that number, and says how.
    pub(crate) fn corrupt(&mut self, way: usize, random: &mut Random) -> String {
        match way % 8 {
            0 => self.flip(random),
            1 => self.remove_rows(random),
            2 => self.swap(random),
            3 => self.edit_manifest(random),
            4 => self.edit_json("verdicts.json", random),
            5 => self.edit_json("plan.json", random),
            6 => self.add(random),
            _ => self.forge(random),
        }
    }

    /// One bit, in a file of a kind drawn first.
    fn flip(&mut self, random: &mut Random) -> String {
        let mut kinds: Vec<String> =
            self.whole.iter().filter(|file| !file.1.is_empty()).map(|file| name(file.0)).collect();
        kinds.sort();
        kinds.dedup();
        let kind = random.of(&kinds).clone();
        let files: Vec<PathBuf> =
            self.called(&kind).into_iter().filter(|path| !self.whole[path].is_empty()).collect();
        let path = random.of(&files).clone();
        let mut bytes = self.whole[&path].clone();
        let (at, bit) = (random.below(bytes.len()), random.below(8));
        bytes[at] ^= 1 << bit;
        self.write(&path, &bytes);
        format!("bit {bit} of byte {at} of {}", path.display())
    }

    fn remove_rows(&mut self, random: &mut Random) -> String {
        let kind = *random.of(&["probes.parquet", "responses.parquet", "training.parquet"]);
        let path = random.of(&self.called(kind)).clone();
        let (count, all) = (1 + random.below(20), random.below(2) == 0);
        let mut said = String::new();
        self.reframe(&path, |frame| {
            let first = random.below(frame.height());
            // Some rows, or all that come after one.
            let last = if all { frame.height() } else { (first + count).min(frame.height()) };
            said = format!("rows {first} to {last} of {} removed from {}", frame.height(), path.display());
            let kept = (0..frame.height()).map(|row| row < first || row >= last);
            frame.filter(&kept.collect::<BooleanChunked>()).expect("rows")
        });
        said
    }

    /// The contents of two files of one name.
    fn swap(&mut self, random: &mut Random) -> String {
        loop {
            let paths: Vec<PathBuf> = self.whole.keys().cloned().collect();
            let one = random.of(&paths).clone();
            let other = random.of(&self.called(&name(&one))).clone();
            let (first, second) = (self.whole[&one].clone(), self.whole[&other].clone());
            if first != second {
                self.write(&one, &second);
                self.write(&other, &first);
                return format!("{} and {} swapped", one.display(), other.display());
            }
        }
    }

    fn edit_manifest(&mut self, random: &mut Random) -> String {
        let path = random.of(&self.called("manifest.json")).clone();
        let asks = self.json(&path)["summary"]["answers"].is_string();
        let trains = ["attack", "tune"].contains(&self.json(&path)["kind"].as_str().expect("a kind"));
        let mut keys = vec!["kind", "hash", "spec", "inputs", "record", "file", "log"];
        keys.extend(asks.then_some("answers"));
        keys.extend(trains.then_some("spent"));
        let key = *random.of(&keys);
        self.reseal(&path, |manifest| match key {
            "kind" => manifest["kind"] = json!("measured"),
            "hash" => manifest["hash"] = json!("0".repeat(64)),
            "spec" => drop(edit(&mut manifest["spec"], random)),
            "inputs" => manifest["inputs"].as_array_mut().expect("inputs").push(json!("0".repeat(64))),
            "record" => manifest["files"][0]["blake3"] = json!("0".repeat(64)),
            "file" => drop(manifest["files"].as_array_mut().expect("files").pop()),
            "log" => manifest["log"]["size"] = json!(1_000_000),
            "answers" => manifest["summary"]["answers"] = json!("0".repeat(64)),
            _ => {
                let part = *random.of(&["examples", "tokens", "flops"]);
                manifest["summary"][part] = json!(7);
            }
        });
        format!("{key} of {}", path.display())
    }

    fn edit_json(&mut self, file: &str, random: &mut Random) -> String {
        let path = self.of_experiment(file);
        let mut value = self.json(&path);
        value.as_object_mut().expect("an object").remove("blake3");
        // Which titer kept verdicts is no part of them.
        let titer = value.as_object_mut().expect("an object").remove("titer");
        let at = edit(&mut value, random);
        if let Some(titer) = titer {
            value["titer"] = titer;
        }
        self.write_json(&path, value);
        format!("{at} of {file}")
    }

    fn add(&mut self, random: &mut Random) -> String {
        let manifest = random.of(&self.called("manifest.json")).clone();
        let model = manifest.with_file_name("model");
        let folder = if model.is_dir() && random.below(2) == 0 { model } else { manifest.with_file_name("") };
        let path = folder.join(random.of(&["notes.txt", ".hidden", "lease.json", "model2.safetensors"]));
        self.write(&path, &vec![7; random.below(50)]);
        format!("{} added", path.display())
    }

    /// By someone who knows what is compared with what.
    fn forge(&mut self, random: &mut Random) -> String {
        let probes = random.of(&self.called("probes.parquet")).clone();
        match random.below(6) {
            0 => {
                let row = random.below(16);
                self.reframe(&probes, |frame| {
                    let scores = frame.column("score").and_then(|column| column.f64()).expect("scores");
                    let other = |(at, score): (usize, Option<f64>)| {
                        let score = score.expect("a score");
                        if at == row { if score > 0.5 { 0.0 } else { 1.0 } } else { score }
                    };
                    let scores: Vec<f64> = scores.iter().enumerate().map(other).collect();
                    replaced(frame, Series::new("score".into(), scores))
                });
                format!("the score of row {row} of {}", probes.display())
            }
            1 => {
                self.reframe(&probes, |frame| frame.vstack(&frame.slice(3, 1)).expect("the same columns"));
                format!("row 3 twice in {}", probes.display())
            }
            2 => {
                let spec = self.of_experiment("spec.toml");
                let text = fs::read_to_string(&spec).expect("text").replacen("phi = 0.2", "phi = 0.3", 1);
                self.write(&spec, text.as_bytes());
                "phi in spec.toml".to_owned()
            }
            3 => {
                let path = self.of_experiment("looks.json");
                self.write_json(&path, json!({ "open": [[]] }));
                "looks.json".to_owned()
            }
            4 => {
                let path = self.root.join("store.json");
                self.write(&path, b"{\"format\":0}\n");
                "store.json".to_owned()
            }
            _ => {
                let path = self.of_experiment("plan.json");
                let mut plan = self.json(&path);
                let cells = plan["cells"].as_array_mut().expect("cells");
                let (one, other) = (random.below(cells.len()), random.below(cells.len() - 1));
                let other = if other >= one { other + 1 } else { other };
                let stage = cells[one]["stage"].clone();
                cells[one]["stage"] = std::mem::replace(&mut cells[other]["stage"], stage);
                self.write_json(&path, plan);
                format!("the stages of cells {one} and {other} swapped")
            }
        }
    }
}

/// The frame with another column in place of that of the name.
pub(crate) fn replaced(mut frame: DataFrame, column: Series) -> DataFrame {
    frame.with_column(Column::from(column)).expect("as many rows");
    frame
}

/// Changes one value somewhere, and says where.
fn edit(value: &mut Value, random: &mut Random) -> String {
    let mut places = Vec::new();
    leaves(value, "", &mut places);
    let at = random.of(&places).clone();
    let leaf = value.pointer_mut(&at).expect("it is there");
    *leaf = match leaf.take() {
        Value::Bool(flag) => json!(!flag),
        Value::String(text) => json!(format!("{text}x")),
        Value::Number(number) => match number.as_u64() {
            Some(number) => json!(number + 1),
            None => json!(number.as_f64().unwrap_or_default() * 1.5 + 0.1),
        },
        _ => json!(1),
    };
    at
}

fn leaves(value: &Value, at: &str, places: &mut Vec<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(key, value)| {
                leaves(value, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), places)
            });
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter()
                .enumerate()
                .for_each(|(index, value)| leaves(value, &format!("{at}/{index}"), places));
        }
        _ => places.push(at.to_owned()),
    }
}

fn schema(path: &Path) -> &'static Schema {
    match name(path).as_str() {
        "probes.parquet" => &PROBE_ROWS,
        "responses.parquet" => &RESPONSES,
        _ => &TRAINING_ROWS,
    }
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn gather(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            gather(&path, files);
        } else {
            files.insert(path.clone(), fs::read(&path).expect("readable"));
        }
    }
}

/// A copy of a folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}
