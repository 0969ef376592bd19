//! Every command in the documentation works as written.
//!
//! Experiments are cut down to a few steps by further `--set`s. What cannot be run here stands below a comment
//! `<!-- not run: reason -->` in the document.

use std::os::unix::fs::symlink;

use titer_tests::{Place, cargo, files, read, root};

/// A fenced block.
struct Block {
    /// `FILE:LINE` of its fence.
    at: String,
    language: String,
    lines: Vec<String>,
    not_run: bool,
}

/// The blocks of README and book, in the order of pages.
fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    for path in std::iter::once(root().join("README.md")).chain(files(root().join("docs/src"), "md")) {
        let mut open: Option<Block> = None;
        let mut not_run = false;
        for (number, line) in (1..).zip(read(&path).lines()) {
            match (line.trim().strip_prefix("```"), open.take()) {
                (Some(language), None) => {
                    let at = format!("{}:{number}", path.display());
                    open = Some(Block { at, language: language.to_owned(), lines: Vec::new(), not_run });
                }
                (Some(_), Some(block)) => blocks.push(block),
                (None, Some(mut block)) => {
                    block.lines.push(line.to_owned());
                    open = Some(block);
                }
                (None, None) if line.trim().is_empty() => {}
                (None, None) => not_run = line.starts_with("<!-- not run: "),
            }
        }
        assert!(open.is_none(), "{}: a block is never closed", path.display());
    }
    assert!(blocks.len() > 20, "only {} blocks were found", blocks.len());
    blocks
}

/// A place as the documents suppose it: the repository's data, and both presets run.
fn place() -> Place {
    let place = Place::new();
    for name in ["docs", "data"] {
        symlink(root().join(name), place.path(name)).expect("a link");
    }
    for preset in ["apothecary-smoke", "apothecary"] {
        place.shell(&cut_down(&format!("titer run {preset}"))).ends(0);
    }
    place
}

/// The command with further arguments that make an experiment short.
fn cut_down(line: &str) -> String {
    let mut words = line.split_whitespace().skip(1);
    let (Some("run" | "plan"), Some(spec)) = (words.next(), words.next()) else { return line.to_owned() };
    let preset = root().join(format!("data/presets/{spec}.toml"));
    let path = if preset.exists() { preset } else { root().join(spec) };
    let spec: toml::Table = read(path).parse().expect("TOML");
    let mut line = line.to_owned();
    if spec["model"].get("world").is_none() {
        // A chat model's size is its own; its experiments are planned here, not run.
        return line;
    }
    for short in [
        "model.decoder.hidden=16",
        "model.decoder.layers=1",
        "model.decoder.heads=2",
        "model.decoder.kv_heads=2",
        "model.decoder.intermediate=16",
        "model.pretrain.steps=2",
        "model.pretrain.batch=8",
        "model.pretrain.warmup_steps=0",
        "model.align.train.steps=2",
        "model.align.train.batch=8",
        "probe.cadence=[0,1,2]",
        "probe.items=8",
        "stability.items=8",
        "trainability.cadence=[0,1,2]",
        "trainability.items=8",
        "conditions.resamples=100",
    ] {
        line.push_str(&format!(" --set '{short}'"));
    }
    for (list, steps) in [("defence", 1), ("attack", 2)] {
        let members = spec[list].as_array().expect("a list of tables");
        for (index, _) in members.iter().enumerate().filter(|(_, member)| member.get("steps").is_some()) {
            line.push_str(&format!(" --set {list}.{index}.steps={steps}"));
        }
    }
    line
}

#[test]
fn every_command_in_the_documentation_works() {
    let place = place();
    let mut count = 0;
    let temporary = format!("{}/", place.path("").display());
    for block in blocks().iter().filter(|block| block.language == "sh" && !block.not_run) {
        for line in block.lines.iter().filter(|line| line.starts_with("titer ")) {
            place.shell(&cut_down(&line.replace("/tmp/", &temporary))).ends(0);
            count += 1;
        }
    }
    assert!(count > 15, "only {count} commands were found");
}

#[test]
fn every_shown_refusal_is_what_the_program_says() {
    let place = Place::new();
    let mut count = 0;
    for block in blocks().iter().filter(|block| block.language == "text" && !block.not_run) {
        let [first, shown @ ..] = block.lines.as_slice() else { continue };
        let Some(line) = first.strip_prefix("$ ") else { continue };
        let ran = place.shell(line);
        count += 1;
        assert_eq!(
            format!("{}{}", ran.stdout, ran.stderr).trim_end(),
            shown.join("\n"),
            "{}: {line}",
            block.at
        );
    }
    assert!(count > 0, "the documents show no command with its answer");
}

#[test]
fn every_chore_in_the_documentation_exists() {
    let mut count = 0;
    let mut verbs = std::collections::BTreeMap::new();
    // As `cargo xtask` but with the features of the whole workspace, with which all it needs is there.
    let built = cargo().args(["build", "--release", "--workspace", "--bin", "xtask"]).status();
    assert!(built.expect("cargo can be started").success(), "xtask does not build");
    let xtask = titer_tests::titer().with_file_name("xtask");
    for block in blocks().iter().filter(|block| block.language == "sh") {
        for line in block.lines.iter().filter_map(|line| line.strip_prefix("cargo xtask ")) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut help_of = |verb: &[&str]| -> String {
                let help = verbs.entry(verb.join(" ")).or_insert_with(|| {
                    let help = std::process::Command::new(&xtask).args(verb).arg("--help").output();
                    let help = help.expect("xtask can be started");
                    assert!(help.status.success(), "{}: there is no cargo xtask {verb:?}", block.at);
                    String::from_utf8_lossy(&help.stdout).into_owned()
                });
                help.clone()
            };
            let mut verb = &words[..1];
            let mut help = help_of(verb);
            if help.contains("\nCommands:\n") {
                verb = &words[..2];
                help = help_of(verb);
            }
            let verb = verb.join(" ");
            for option in line.split_whitespace().filter(|word| word.starts_with("--")) {
                assert!(help.contains(option), "{}: cargo xtask {verb} has no {option}", block.at);
            }
            count += 1;
        }
    }
    assert!(count > 3, "only {count} chores were found");
}

/// The program of an example's source: where this test was built, or built now where only this test was.
fn example(file: &str) -> std::path::PathBuf {
    let name = std::path::Path::new(file).file_stem().and_then(|name| name.to_str()).expect("a name");
    let test = std::env::current_exe().expect("this test is a program");
    let folder = test.parent().and_then(std::path::Path::parent).expect("a profile's folder");
    let release = folder.ends_with("release").then_some("--release");
    let built = cargo().args(["build", "--workspace", "--example", name]).args(release).status();
    assert!(built.is_ok_and(|status| status.success()), "{file} cannot be built");
    folder.join("examples").join(name)
}

/// A block below `<!-- from: FILE -->` is that file, word for word, and runs.
#[test]
fn every_program_in_the_documentation_is_one_that_is_built() {
    let mut count = 0;
    for path in files(root().join("docs/src"), "md") {
        let text = read(&path);
        for (_, rest) in text.match_indices("<!-- from: ").map(|(at, start)| (at, &text[at + start.len()..]))
        {
            let (file, rest) = rest.split_once(" -->\n").expect("a closed comment");
            let (_, rest) = rest.split_once("```rust\n").expect("a block of Rust");
            let (shown, _) = rest.split_once("\n```").expect("a closed block");
            let program = read(root().join(file));
            assert_eq!(shown, program.trim_end(), "{}: {file} is shown otherwise", path.display());
            let ran = std::process::Command::new(example(file)).output().expect("the example can be started");
            assert!(ran.status.success(), "{file}: {}", String::from_utf8_lossy(&ran.stderr));
            count += 1;
        }
    }
    assert!(count > 0, "the documents show no program");
}

/// A cell of the page on trust names a file and a test in it.
#[test]
fn the_tests_that_the_page_on_trust_names_are_there() {
    let page = read(root().join("docs/src/trust.md"));
    let named: Vec<(&str, &str)> = page
        .split('`')
        .filter_map(|code| code.split_once("::"))
        .filter(|(file, _)| file.ends_with(".rs"))
        .collect();
    assert!(named.len() > 40, "{named:?}");
    for (file, test) in named {
        let source = read(root().join(file));
        let test = format!("#[test]\nfn {test}()");
        let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
        assert!(lines.join("\n").contains(&test), "{file} has no {test}");
    }
}
