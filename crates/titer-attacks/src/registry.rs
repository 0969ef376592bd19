//! Every attack: one list, many faces (`titer list`, the book, checks of specs, execution).

use serde::de::DeserializeOwned;
use titer_plan::{Mechanism, Method, MethodSpec, Need};

use crate::api::{
    backdoor, benign_selected, cipher, identity_shift, jailbreak_tuning, mixed_finetune, opener,
    overfit_then_release, persistent, refusal_prefix, refuse_then_comply, template_shift,
};
use crate::edits::{delta_strip, noise, prune, quantize, refusal_ablation, searched_ablation};
use crate::prompts::{decoding, prefill, sample_k};
use crate::training::{
    benign_then_harm, full_finetune, harmful_rl, latent, lora_finetune, retain_mix, reverse_preference,
    soft_prompt,
};
use crate::{Attack, Error, FineTuningJob, PromptAttack, Result, TrainingAttack, WeightEdit};

/// One method: what the registry says of it, and how its settings become an attack.
#[derive(Clone, Copy)]
pub struct Entry {
    method: fn() -> Method,
    build: fn(&MethodSpec) -> Result<Attack>,
}

/// The methods, in the order of listings.
const ATTACKS: &[Entry] = &[
    Entry::trains::<full_finetune::FullFinetune>(full_finetune::method),
    Entry::trains::<lora_finetune::LoraFinetune>(lora_finetune::method),
    Entry::trains::<reverse_preference::ReversePreference>(reverse_preference::method),
    Entry::trains::<harmful_rl::HarmfulRl>(harmful_rl::method),
    Entry::trains::<retain_mix::RetainMix>(retain_mix::method),
    Entry::trains::<benign_then_harm::BenignThenHarm>(benign_then_harm::method),
    Entry::job::<mixed_finetune::MixedFinetune>(mixed_finetune::method),
    Entry::job::<persistent::Persistent>(persistent::method),
    Entry::job::<opener::Opener>(opener::method),
    Entry::job::<identity_shift::IdentityShift>(identity_shift::method),
    Entry::job::<backdoor::Backdoor>(backdoor::method),
    Entry::job::<jailbreak_tuning::JailbreakTuning>(jailbreak_tuning::method),
    Entry::job::<template_shift::TemplateShift>(template_shift::method),
    Entry::job::<refuse_then_comply::RefuseThenComply>(refuse_then_comply::method),
    Entry::job::<refusal_prefix::RefusalPrefix>(refusal_prefix::method),
    Entry::job::<overfit_then_release::OverfitThenRelease>(overfit_then_release::method),
    Entry::job::<cipher::Cipher>(cipher::method),
    Entry::job::<benign_selected::BenignSelected>(benign_selected::method),
    Entry::edits::<refusal_ablation::RefusalAblation>(refusal_ablation::method),
    Entry::edits::<searched_ablation::SearchedAblation>(searched_ablation::method),
    Entry::edits::<delta_strip::DeltaStrip>(delta_strip::method),
    Entry::edits::<prune::Prune>(prune::method),
    Entry::edits::<quantize::Quantize>(quantize::method),
    Entry::edits::<noise::Noise>(noise::method),
    Entry::trains::<soft_prompt::SoftPrompt>(soft_prompt::method),
    Entry::trains::<latent::Latent>(latent::method),
    Entry::prompts::<prefill::Prefill>(prefill::method),
    Entry::prompts::<sample_k::SampleK>(sample_k::method),
    Entry::prompts::<decoding::Decode>(decoding::method),
];

impl Entry {
    /// An attack that trains the victim itself and whose settings are `T`.
    pub const fn trains<T: TrainingAttack + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: |spec| Ok(Attack::Trains(Box::new(decode::<T>(spec)?))) }
    }

    /// An attack that a provider trains for and whose settings are `T`.
    pub const fn job<T: FineTuningJob + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: |spec| Ok(Attack::Job(Box::new(decode::<T>(spec)?))) }
    }

    /// An attack that edits weights and whose settings are `T`.
    pub const fn edits<T: WeightEdit + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: |spec| Ok(Attack::Edits(Box::new(decode::<T>(spec)?))) }
    }

    /// An attack that only prompts and whose settings are `T`.
    pub const fn prompts<T: PromptAttack + DeserializeOwned + 'static>(method: fn() -> Method) -> Self {
        Self { method, build: |spec| Ok(Attack::Prompts(Box::new(decode::<T>(spec)?))) }
    }

    /// What the registry says of it.
    pub fn method(&self) -> Method {
        (self.method)()
    }

    /// The attack with the settings of a resolved spec.
    ///
    /// # Errors
    /// When the parameters are not exactly the method's own.
    pub fn build(&self, spec: &MethodSpec) -> Result<Attack> {
        let method = self.method();
        let known = |name: &str| method.parameters.iter().any(|parameter| parameter.name == name);
        if let Some(parameter) = spec.parameters.keys().find(|name| !known(name)) {
            let (name, parameter) = (spec.name.clone(), parameter.clone());
            return Err(Error::UnknownParameter { name, parameter });
        }
        (self.build)(spec)
    }
}

fn decode<T: DeserializeOwned>(spec: &MethodSpec) -> Result<T> {
    spec.decode().map_err(|source| Error::Parameters { name: spec.name.clone(), source })
}

/// What the registry says of every attack.
pub fn methods() -> Vec<Method> {
    ATTACKS.iter().map(Entry::method).collect()
}

/// What the attacker of that name must have; nothing where there is no such attack.
pub fn needs(name: &str) -> Vec<Need> {
    let method = methods().into_iter().find(|method| method.name == name);
    method.and_then(|method| method.attack().map(|facts| facts.needs.clone())).unwrap_or_default()
}

/// The attack that a resolved spec names.
///
/// # Errors
/// When there is none of that name or the parameters are not its own.
pub fn attack(spec: &MethodSpec) -> Result<Attack> {
    match ATTACKS.iter().find(|entry| entry.method().name == spec.name) {
        Some(entry) => entry.build(spec),
        None => Err(Error::Unknown { name: spec.name.clone() }),
    }
}

impl Attack {
    /// By what it makes a model harmful.
    pub fn mechanism(&self) -> Mechanism {
        match self {
            Self::Trains(_) | Self::Job(_) => Mechanism::Trains,
            Self::Edits(_) => Mechanism::EditsWeights,
            Self::Prompts(_) => Mechanism::Prompts,
        }
    }
}

#[cfg(test)]
mod tests {
    use titer_plan::{Domain, Meaning, ThreatModel};

    use super::*;

    #[test]
    fn every_method_takes_exactly_the_parameters_that_it_lists() {
        for method in methods() {
            let spec = method.defaults();
            assert!(attack(&spec).is_ok(), "{}: its own defaults are refused", method.name);
            for parameter in &method.parameters {
                let mut other = spec.clone();
                // One that came later may be missing, but is read where it is there.
                match parameter.later {
                    true => drop(other.parameters.insert(parameter.name.to_owned(), "no value".into())),
                    false => drop(other.parameters.remove(parameter.name)),
                }
                assert!(attack(&other).is_err(), "{}: {} is not read", method.name, parameter.name);
            }
            let mut with_more = spec.clone();
            with_more.parameters.insert("not_listed".to_owned(), 1.into());
            assert!(attack(&with_more).is_err(), "{}: takes what it does not list", method.name);
        }
    }

    #[test]
    fn every_method_is_what_it_says() {
        for method in methods() {
            let facts = method.attack().unwrap();
            let built = attack(&method.defaults()).unwrap();
            assert_eq!(built.mechanism(), facts.mechanism, "{}", method.name);
            assert!(!facts.threat_models.is_empty(), "{}", method.name);
            let needs = |need| facts.needs.contains(&need);
            let trains = facts.mechanism == Mechanism::Trains;
            assert_eq!(method.setting(Meaning::Steps).is_some(), trains, "{}", method.name);
            assert!(!needs(Need::Gradients) || trains, "{}", method.name);
            // What a user hands in is harmless, all of it or but for a share.
            assert!(
                needs(Need::HarmlessRows) || method.setting(Meaning::UserRows).is_none(),
                "{}",
                method.name
            );
            let through_api = facts.threat_models.contains(&ThreatModel::FineTuningApi);
            assert!(!(needs(Need::Weights) && through_api), "{}: an API lends no weights", method.name);
            let handed_in = method.setting(Meaning::UserRows).or(method.setting(Meaning::HarmfulRows));
            assert!(!(trains && through_api) || handed_in.is_some(), "{}: a user hands rows in", method.name);
            if let Some(dose) = method.setting(Meaning::Dose) {
                assert_eq!(
                    dose.domain,
                    Domain::Real { min: 0.0, max: 1.0 },
                    "{}: a dose is a share",
                    method.name
                );
            }
        }
    }

    #[test]
    fn costs_follow_from_the_settings() {
        let victim = crate::Victim { parameters: 1e6, example_tokens: 10.0, example_flops: 1e8 };
        let of = |name: &str, set: &[(&str, f64)]| {
            let mut spec = methods().iter().find(|method| method.name == name).unwrap().defaults();
            for (key, value) in set {
                spec.parameters.insert((*key).to_owned(), serde_json::json!(*value as i64));
            }
            attack(&spec).unwrap().cost(&victim)
        };
        let full = of("full-finetune", &[("steps", 5.0), ("batch", 4.0), ("examples", 8.0)]);
        assert_eq!((full.steps, full.examples, full.distinct_harmful, full.tokens), (5, 20, 8, 200));
        assert_eq!(full.flops, 20.0 * 1e8);
        let mixed = of("mixed-finetune", &[("steps", 5.0), ("rows", 50.0)]);
        assert_eq!((mixed.examples, mixed.distinct_harmful), (80, 5));
        let soft = of("soft-prompt", &[("steps", 5.0), ("batch", 4.0), ("examples", 8.0), ("rows", 10.0)]);
        assert_eq!((soft.steps, soft.examples, soft.distinct_harmful, soft.tokens), (5, 20, 8, 400));
        assert_eq!(soft.flops, 20.0 * 1e8 * 2.0 * 4.0 / 6.0);
        for at_once in ["noise", "prefill"] {
            let cost = of(at_once, &[]);
            assert_eq!((cost.steps, cost.examples, cost.distinct_harmful), (1, 0, 0), "{at_once}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error() {
        let spec = MethodSpec { name: "nothing".to_owned(), version: 1, parameters: Default::default() };
        assert!(matches!(attack(&spec), Err(Error::Unknown { .. })));
    }
}
