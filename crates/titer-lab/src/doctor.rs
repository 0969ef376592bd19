//! What this machine and this binary can do.

use serde::Serialize;

use crate::catalogue::{catalogue, plan, presets, source};

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// Whether it works.
    pub ok: bool,
    /// What was found.
    pub finding: String,
    /// What to do, where there is something to do.
    pub advice: Option<String>,
}

/// Looks at the machine and the binary; changes nothing.
pub fn doctor() -> Vec<Check> {
    vec![version(), threads(), vector_units(), devices(), registries()]
}

fn check(name: &'static str, ok: bool, finding: String, advice: Option<&str>) -> Check {
    Check { name, ok, finding, advice: advice.map(str::to_owned) }
}

fn version() -> Check {
    let finding =
        format!("titer {} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::OS, std::env::consts::ARCH);
    check("version", true, finding, None)
}

fn threads() -> Check {
    match std::thread::available_parallelism() {
        Ok(threads) => {
            check("threads", true, format!("{threads}: as many stages run at once (--jobs)"), None)
        }
        Err(error) => check("threads", false, error.to_string(), Some("set --jobs by hand")),
    }
}

#[cfg(target_arch = "x86_64")]
fn vector_units() -> Check {
    let (avx2, fma) = (is_x86_feature_detected!("avx2"), is_x86_feature_detected!("fma"));
    let avx512 = is_x86_feature_detected!("avx512f");
    let finding = format!("avx2 {avx2}, fma {fma}, avx512f {avx512}");
    let slow = "training will be several times slower than on a processor with AVX2 and FMA";
    check("vector units", avx2 && fma, finding, (!(avx2 && fma)).then_some(slow))
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_units() -> Check {
    check("vector units", true, "chosen by the compiler for this processor".to_owned(), None)
}

fn devices() -> Check {
    let finding = "cpu; this binary was built without cuda and metal".to_owned();
    check("devices", true, finding, None)
}

fn registries() -> Check {
    let catalogue = catalogue();
    let broken: Vec<String> = presets()
        .iter()
        .filter_map(|preset| {
            let source = source(preset.name).ok()?;
            plan(&source, &[]).err().map(|mistakes| mistakes.to_string())
        })
        .collect();
    let finding = format!(
        "{} attacks, {} defences, {} worlds, {} presets",
        catalogue.attacks.len(),
        catalogue.defences.len(),
        catalogue.worlds.len(),
        presets().len()
    );
    if broken.is_empty() {
        check("registries", true, finding, None)
    } else {
        check("registries", false, broken.join("; "), Some("this is a bug of titer: please report it"))
    }
}
