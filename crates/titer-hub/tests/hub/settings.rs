//! What the environment says.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use tempfile::tempdir;
use titer_hub::{Error, KNOWN, Settings, Token, known, known_model_in, models_dir_from};

fn variables<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<OsString> + 'a {
    |name| pairs.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).into())
}

fn read(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
    Settings::from_variables(variables(pairs))
}

#[test]
fn variables_mean_what_they_mean_in_python() {
    let home = tempdir().unwrap();
    let home = home.path().to_str().unwrap();
    let cache = |pairs: &[(&str, &str)]| read(&[pairs, &[("HOME", home)]].concat()).unwrap().cache;
    assert_eq!(cache(&[]), Path::new(home).join(".cache/huggingface/hub"));
    assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
    assert_eq!(cache(&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Path::new("/h/hub"));
    assert_eq!(cache(&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h")]), Path::new("/c"));
    assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/o"), ("HF_HOME", "/h")]), Path::new("/o"));
    assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/o"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
    assert_eq!(cache(&[("HF_HOME", "~/h")]), Path::new(home).join("h/hub"));
    assert_eq!(cache(&[("HF_HOME", "")]), Path::new(home).join(".cache/huggingface/hub"));
    assert!(matches!(read(&[]), Err(Error::BadSetting { .. })));
    for (value, offline) in
        [("1", true), ("true", true), ("YES", true), ("on", true), ("0", false), ("", false)]
    {
        assert_eq!(
            read(&[("HF_HOME", "/h"), ("HF_HUB_OFFLINE", value)]).unwrap().offline,
            offline,
            "{value}"
        );
    }
    assert_eq!(read(&[("HF_HOME", "/h")]).unwrap().endpoint, "https://huggingface.co");
    let mirror = read(&[("HF_HOME", "/h"), ("HF_ENDPOINT", "https://m.example/")]).unwrap();
    assert_eq!(mirror.endpoint, "https://m.example");
}

#[test]
fn the_token_comes_from_the_variable_or_the_file() {
    let home = tempdir().unwrap();
    let path = home.path().to_str().unwrap();
    let token = |pairs: &[(&str, &str)]| read(&[pairs, &[("HF_HOME", path)]].concat()).unwrap().token;
    assert_eq!(token(&[]), None);
    fs::write(home.path().join("token"), "hf_file\n").unwrap();
    assert_eq!(token(&[]), Some(Token::new("hf_file").unwrap()));
    assert_eq!(token(&[("HF_TOKEN", " hf_variable\n")]), Some(Token::new("hf_variable").unwrap()));
    assert_eq!(token(&[("HF_TOKEN", "")]), Some(Token::new("hf_file").unwrap()));
    let other = home.path().join("other");
    fs::write(&other, "hf_other").unwrap();
    assert_eq!(token(&[("HF_TOKEN_PATH", other.to_str().unwrap())]), Some(Token::new("hf_other").unwrap()));
    fs::write(home.path().join("token"), "\n").unwrap();
    assert_eq!(token(&[]), None);
}

#[test]
fn a_token_is_never_shown() {
    let settings = read(&[("HF_HOME", "/h"), ("HF_TOKEN", "hf_topsecret")]).unwrap();
    let shown = format!("{settings:?} {settings:#?}");
    assert!(shown.contains("Token(…)") && !shown.contains("topsecret"), "{shown}");
    for bad in ["hf_topsecret\r\nX-Other: 1", "hf topsecret", "höftopsecret", ""] {
        let error = Token::new(bad).unwrap_err();
        assert!(!format!("{error}{error:?}").contains("topsecret"), "{error}");
    }
    assert!(
        read(&[("HF_HOME", "/h"), ("HF_TOKEN", "hf_a b")]).unwrap_err().to_string().starts_with("HF_TOKEN: ")
    );
}

#[test]
fn known_models_are_found_in_titers_own_cache() {
    let folder = |pairs| models_dir_from(variables(pairs));
    assert_eq!(folder(&[("TITER_CACHE", "/t"), ("HOME", "/h")]).unwrap(), Path::new("/t/models"));
    assert!(folder(&[("HOME", "/h")]).unwrap().ends_with("titer/models"));
    assert!(matches!(folder(&[]), Err(Error::BadSetting { .. })));
    let models = tempdir().unwrap();
    let name = KNOWN[0].name;
    assert_eq!(known_model_in(models.path(), name), None);
    let path = known(name).unwrap().path_in(models.path());
    assert!(path.ends_with("smollm2-135m/model.gguf"));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "half of it").unwrap();
    assert_eq!(known_model_in(models.path(), name), None);
    fs::File::options().write(true).open(&path).unwrap().set_len(KNOWN[0].bytes).unwrap();
    assert_eq!(known_model_in(models.path(), name), Some(path));
    assert_eq!(known_model_in(models.path(), "../smollm2-135m"), None);
}
