//! References as people write them: `hf:owner/name@revision:file`, a folder, a file.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What an error says about the forms there are.
pub(crate) const FORMS: &str = "write hf:OWNER/NAME, hf:OWNER/NAME@REVISION, hf:OWNER/NAME:FILE.gguf, \
     hf:datasets/OWNER/NAME:PATH, or the path of a folder or file";

/// The branch that is meant when none is named.
pub(crate) const MAIN: &str = "main";

const SCHEME: &str = "hf:";

/// Where a model or a data set is.
///
/// ```
/// use titer_hub::Reference;
///
/// let reference: Reference = "hf:HuggingFaceTB/SmolLM2-135M-Instruct@main".parse()?;
/// assert_eq!(reference.to_string(), "hf:HuggingFaceTB/SmolLM2-135M-Instruct");
/// assert!("hf:../etc@main".parse::<Reference>().is_err());
/// assert_eq!("models/llama".parse::<Reference>()?, Reference::Local("models/llama".into()));
/// # Ok::<(), titer_hub::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reference {
    /// A folder or a file on this machine, or the name of a model in titer's own cache.
    Local(PathBuf),
    /// Something on the hub.
    Hub(Remote),
}

/// A repository on the hub, or one file or folder of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remote {
    /// Models or data sets.
    pub kind: Kind,
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// One file, or of a data set one folder as well; relative, with `/`.
    pub path: Option<String>,
}

/// What a repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A model.
    Model,
    /// A data set.
    DataSet,
}

impl Remote {
    /// The commit, if the revision is a whole one: such a reference always means the same content.
    pub fn commit(&self) -> Option<&str> {
        is_commit(&self.revision).then_some(self.revision.as_str())
    }

    /// The repository's page below the endpoint: `owner/name` or `datasets/owner/name`.
    pub(crate) fn page(&self) -> String {
        match self.kind {
            Kind::Model => self.repository.clone(),
            Kind::DataSet => format!("datasets/{}", self.repository),
        }
    }
}

/// Whether a revision is a whole commit hash, as git and the hub write it.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Why `path` is no plain relative path below a repository, if it is not: nothing that a server or an
/// index names may leave its folder.
pub(crate) fn unsafe_path(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("a path is empty")
    } else if path.len() > 1024 {
        Some("a path is longer than 1024 bytes")
    } else if path.contains('\\') {
        Some("a path has a backslash")
    } else if path.chars().any(char::is_control) {
        Some("a path has control characters")
    } else if path.starts_with('/') {
        Some("a path is absolute")
    } else if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        Some("a path has an empty part, `.` or `..`")
    } else if path.split('/').any(|part| part.len() > 255) {
        Some("a part of a path is longer than 255 bytes")
    } else {
        None
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |problem: &str| Error::BadReference { text: shortened(text), problem: shortened(problem) };
        if let Some(rest) = text.strip_prefix(SCHEME) {
            return remote(rest).map(Self::Hub).map_err(|problem| bad(&problem));
        }
        if text.trim().is_empty() {
            return Err(bad("empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(bad("has control characters"));
        }
        match text.split_once(':') {
            Some(("http" | "https", _)) => Err(bad("an address is no reference")),
            Some((scheme, _)) if scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_lowercase()) => {
                Err(bad(&format!("`{scheme}:` names nothing on the hub or on disk")))
            }
            _ => Ok(Self::Local(text.into())),
        }
    }
}

/// What stands after `hf:`.
fn remote(rest: &str) -> Result<Remote, String> {
    // Neither an owner's nor a repository's name nor a revision may hold a colon.
    let (head, path) = match rest.split_once(':') {
        Some((head, path)) => (head, Some(path)),
        None => (rest, None),
    };
    let (page, revision) = head.split_once('@').unwrap_or((head, MAIN));
    let (kind, repository) = match page.strip_prefix("datasets/") {
        Some(repository) => (Kind::DataSet, repository),
        None => (Kind::Model, page),
    };
    let Some((owner, name)) = repository.split_once('/') else {
        return Err(format!("`{repository}` lacks its owner"));
    };
    for part in [owner, name] {
        if let Some(problem) = bad_name(part) {
            return Err(format!("`{part}` {problem}"));
        }
    }
    if let Some(problem) = bad_revision(revision) {
        return Err(format!("the revision {problem}"));
    }
    if let Some(problem) = path.and_then(unsafe_path) {
        return Err(problem.to_owned());
    }
    Ok(Remote {
        kind,
        repository: repository.to_owned(),
        revision: revision.to_owned(),
        path: path.map(str::to_owned),
    })
}

/// The hub's rule: letters, digits, `-`, `_` and `.`, at most 96; `--` separates the parts of a
/// cache folder's name, so it is not allowed within one.
fn bad_name(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("is empty")
    } else if name.len() > 96 {
        Some("is longer than 96 bytes")
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        Some("may hold letters, digits, `-`, `_` and `.` only")
    } else if name.starts_with(['-', '.']) || name.ends_with(['-', '.']) {
        Some("may not begin or end with `-` or `.`")
    } else if name.contains("--") || name.contains("..") {
        Some("may not hold `--` or `..`")
    } else {
        None
    }
}

/// A subset of git's rule for names of branches and tags.
fn bad_revision(revision: &str) -> Option<&'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/#=".contains(&byte);
    if revision.is_empty() {
        Some("is empty")
    } else if revision.len() > 255 {
        Some("is longer than 255 bytes")
    } else if !revision.bytes().all(plain) {
        Some("may hold letters, digits and `-_.+/#=` only")
    } else if revision.split('/').any(|part| part.is_empty() || part.starts_with(['.', '-'])) {
        Some("has an empty part, or one that begins with `.` or `-`")
    } else if revision.contains("..") || revision.ends_with(".lock") {
        Some("may not hold `..` or end with `.lock`")
    } else {
        None
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 200 {
        return text.to_owned();
    }
    text.chars().take(200).chain(std::iter::once('…')).collect()
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => write!(formatter, "{}", path.display()),
            Self::Hub(remote) => write!(formatter, "{remote}"),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}{}", self.page())?;
        if self.revision != MAIN {
            write!(formatter, "@{}", self.revision)?;
        }
        match &self.path {
            Some(path) => write!(formatter, ":{path}"),
            None => Ok(()),
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}
