//! `none`: the aligned model itself, the baseline of every comparison.

use titer_plan::{BASELINE, DefenceStage, Method, MethodKind};

pub(crate) fn method() -> Method {
    Method {
        name: BASELINE,
        kind: MethodKind::Defence { stage: DefenceStage::Alignment },
        version: 1,
        summary: "the aligned model itself: the baseline of every comparison",
        citation: "",
        parameters: Vec::new(),
    }
}
