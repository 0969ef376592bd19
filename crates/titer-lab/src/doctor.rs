//! What this machine and this binary can do.

use serde::Serialize;

use crate::Compute;
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
    vec![version(), threads(), vector_units(), memory(), devices(), models(), hub(), registries()]
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
    let by = match (avx512, avx2 && fma) {
        (true, _) => "AVX-512",
        (false, true) => "AVX2 and FMA",
        (false, false) => "neither AVX2 nor FMA",
    };
    let finding = format!("computes with {by}");
    let slow = "training will be several times slower than on a processor with AVX2 and FMA";
    check("vector units", avx2 && fma, finding, (!(avx2 && fma)).then_some(slow))
}

#[cfg(not(target_arch = "x86_64"))]
fn vector_units() -> Check {
    check("vector units", true, "chosen by the compiler for this processor".to_owned(), None)
}

fn devices() -> Check {
    let built = Compute::built_with();
    let others = [("cuda", Compute::Cuda(vec![0])), ("metal", Compute::Metal)];
    let looked = others
        .iter()
        .filter(|(name, _)| built.contains(name))
        .map(|(name, compute)| (*name, compute.open().err().map(|error| error.chain())));
    let looked: Vec<(&str, Option<String>)> = looked.collect();
    let mut finding = format!("built for {}", built.join(", "));
    for (name, problem) in &looked {
        finding.push_str(&format!("; {name}: {}", problem.as_deref().unwrap_or("works")));
    }
    let ok = looked.iter().all(|(_, problem)| problem.is_none());
    let advice = if ok {
        (built.len() == 1).then_some("for GPUs build with --features cuda (needs the CUDA toolkit) or metal")
    } else {
        Some("install the driver, or take a binary that was built without")
    };
    check("devices", ok, finding, advice)
}

fn memory() -> Check {
    match crate::memory::free() {
        Some(bytes) => check("memory", true, format!("{:.1} GiB free", bytes / f64::from(1 << 30)), None),
        None => check(
            "memory",
            false,
            "unknown".to_owned(),
            Some("runs cannot be refused that do not fit: choose --jobs with care"),
        ),
    }
}

fn models() -> Check {
    let here: Vec<&str> = titer_hub::KNOWN
        .iter()
        .map(|known| known.name)
        .filter(|name| titer_hub::known_model(name).is_some())
        .collect();
    let finding = if here.is_empty() { "none of titer's own".to_owned() } else { here.join(", ") };
    let advice = here.is_empty().then_some("get one: cargo xtask model smollm2-135m");
    check("models", true, finding, advice)
}

/// What the environment says of the hub. Never the token, and no request.
fn hub() -> Check {
    match titer_hub::Settings::from_env() {
        Ok(settings) => {
            let token = if settings.token.is_some() { "a token" } else { "no token" };
            let mode = if settings.offline { ", offline (HF_HUB_OFFLINE)" } else { "" };
            let finding = format!("cache {}, {token}{mode}", settings.cache.display());
            check("hub", true, finding, None)
        }
        Err(error) => check("hub", false, error.to_string(), Some("mend the variable that it names")),
    }
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
        "{} attacks, {} defences, {} worlds, policies and data sets, {} presets",
        catalogue.attacks.len(),
        catalogue.defences.len(),
        catalogue.data.len(),
        presets().len()
    );
    if broken.is_empty() {
        check("registries", true, finding, None)
    } else {
        check("registries", false, broken.join("; "), Some("this is a bug of titer: please report it"))
    }
}
