//! What is written, and what it means.

use titer_hub::{Error, Kind, Reference, Remote};

fn hub(kind: Kind, repository: &str, revision: &str, path: Option<&str>) -> Reference {
    Reference::Hub(Remote {
        kind,
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        path: path.map(str::to_owned),
    })
}

#[test]
fn forms_are_read_and_shown() {
    let check = |text: &str, expected: Reference, shown: &str| {
        let found: Reference = text.parse().unwrap();
        assert_eq!(found, expected, "{text}");
        assert_eq!(found.to_string(), shown);
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(json, format!("\"{shown}\""));
        assert_eq!(serde_json::from_str::<Reference>(&json).unwrap(), found);
    };
    let main = "main";
    check("hf:a/b", hub(Kind::Model, "a/b", main, None), "hf:a/b");
    check("hf:a/b@main", hub(Kind::Model, "a/b", main, None), "hf:a/b");
    check("hf:a/b@refs/pr/1", hub(Kind::Model, "a/b", "refs/pr/1", None), "hf:a/b@refs/pr/1");
    check(
        "hf:a/b.c_d-e:x/y.gguf",
        hub(Kind::Model, "a/b.c_d-e", main, Some("x/y.gguf")),
        "hf:a/b.c_d-e:x/y.gguf",
    );
    check("hf:a/b@v1:y.gguf", hub(Kind::Model, "a/b", "v1", Some("y.gguf")), "hf:a/b@v1:y.gguf");
    check("hf:datasets/a/b", hub(Kind::DataSet, "a/b", main, None), "hf:datasets/a/b");
    check("hf:datasets/a/b@v1:d/x", hub(Kind::DataSet, "a/b", "v1", Some("d/x")), "hf:datasets/a/b@v1:d/x");
    for path in ["model", "./model", "../model.gguf", "/m/x.gguf", "with space/x", "a@b", "c:d", "./world:x"]
    {
        check(path, Reference::Local(path.into()), path);
    }
}

#[test]
fn a_whole_commit_is_a_pin() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let remote = |revision: &str| match format!("hf:a/b@{revision}").parse().unwrap() {
        Reference::Hub(remote) => remote,
        Reference::Local(_) => unreachable!(),
    };
    assert_eq!(remote(commit).commit(), Some(commit));
    assert_eq!(remote("0123456").commit(), None);
    assert_eq!(remote("main").commit(), None);
}

#[test]
fn what_is_no_reference_is_explained() {
    let bad = [
        ("", "empty"),
        ("  ", "empty"),
        ("hf:", "lacks its owner"),
        ("hf:gpt2", "lacks its owner"),
        ("hf:datasets/squad", "lacks its owner"),
        ("hf:../etc", "may not begin"),
        ("hf:a/..", "may not begin"),
        ("hf:a/b/c", "letters, digits"),
        ("hf:a--b/c", "`--`"),
        ("hf:/b", "is empty"),
        ("hf:a/b@", "revision is empty"),
        ("hf:a/b@../../x", "begins with `.`"),
        ("hf:a/b@a..b", "may not hold `..`"),
        ("hf:a/b@a b", "letters, digits"),
        ("hf:a/b@/x", "empty part"),
        ("hf:a/b:", "a path is empty"),
        ("hf:a/b:../x", "`..`"),
        ("hf:a/b:/x", "absolute"),
        ("hf:a/b:x\\y", "backslash"),
        ("hf:a/b:x//y", "empty part"),
        ("hf:a/b?x=1", "letters, digits"),
        ("a\0b", "control"),
        ("https://huggingface.co/a/b", "address"),
        ("world:apothecary", "`world:`"),
        ("artifact:abc", "`artifact:`"),
    ];
    for (text, expected) in bad {
        let error = text.parse::<Reference>().unwrap_err();
        assert!(matches!(error, Error::BadReference { .. }), "{text}: {error:?}");
        let shown = error.to_string();
        assert!(shown.contains(expected), "{text}: {shown}");
        assert!(shown.contains("write hf:OWNER/NAME"), "{shown}");
    }
    let long = "hf:".to_owned() + &"a".repeat(100_000);
    assert!(long.parse::<Reference>().unwrap_err().to_string().len() < 1000);
}
