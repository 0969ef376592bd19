//! `none`: the aligned model itself, the baseline of every comparison.

use titer_plan::{BASELINE, DefenceStage, Method, MethodKind, Sham};

pub(crate) fn method() -> Method {
    Method {
        name: BASELINE,
        kind: MethodKind::defence(
            DefenceStage::Alignment,
            Sham::Absent { because: "for it is what others are compared with" },
        ),
        version: 1,
        summary: "the aligned model itself: the baseline of every comparison",
        citation: "",
        parameters: Vec::new(),
    }
}
