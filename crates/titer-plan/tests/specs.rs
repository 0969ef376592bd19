//! Bad specs are files: each is reported as its `.expected` sibling says. `UPDATE_EXPECT=1` rewrites those.

use std::fs;
use std::path::{Path, PathBuf};

use crate::catalogue;

fn specs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/specs").join(folder);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut specs: Vec<PathBuf> = files
        .map(|file| file.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    specs.sort();
    specs
}

#[test]
fn every_bad_spec_is_reported_as_expected() {
    let catalogue = catalogue::catalogue();
    let specs = [specs("."), specs("fixture")].concat();
    assert!(specs.len() >= 16, "only {} bad specs were found", specs.len());
    let mut wrong = Vec::new();
    for path in specs {
        let text = fs::read_to_string(&path).expect("a spec is text");
        let file = path.file_name().and_then(|name| name.to_str()).expect("specs have plain names");
        let Err(mistakes) = titer_plan::read(file, &text, &[], &catalogue) else {
            panic!("{file} should be refused");
        };
        let actual = format!("{mistakes}\n");
        let expected = path.with_extension("expected");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &actual).expect("the folder can be written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != actual {
            wrong.push(actual);
        }
    }
    assert!(wrong.is_empty(), "not as expected:\n\n{}", wrong.join("\n"));
}
