//! `data-filtering`: a base model that never read what it must not tell (O'Brien et al., arXiv 2508.06601). What a model
//! never knew, no attack brings back: it must be taught, so that whatever measures immunity must find it here.

use serde::Deserialize;
use titer_plan::{Control, DefenceStage, Method, MethodKind};

use super::Curator;

/// It has no settings: the filter misses nothing.
#[derive(Debug, Clone, Deserialize)]
pub struct DataFiltering {}

pub(crate) fn method() -> Method {
    Method {
        name: "data-filtering",
        kind: MethodKind::control(
            DefenceStage::Pretraining,
            Control::Positive,
            "for what was never known is its own comparison",
        ),
        version: 1,
        summary: "pre-trains without the forbidden domains: the positive control, which must resist",
        citation: "O'Brien et al., arXiv 2508.06601",
        parameters: Vec::new(),
    }
}

impl Curator for DataFiltering {
    fn keeps(&self, domain: &str, forbidden: &[String]) -> bool {
        !forbidden.iter().any(|known| known == domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_defender_knows_to_be_forbidden_is_left_out() {
        let forbidden = ["venom".to_owned(), "curse".to_owned()];
        let kept: Vec<&str> = ["venom", "siege", "bread", "curse"]
            .into_iter()
            .filter(|domain| DataFiltering {}.keeps(domain, &forbidden))
            .collect();
        assert_eq!(kept, ["siege", "bread"]);
    }
}
