//! Results of other programs, beside which one's own are put.
#![no_main]

use titer_exchange::{LmEval, tamperbench};
use titer_fuzz::{Seeds, target, write};

fn seeds() -> Seeds {
    let texts = [
        (
            "lm-eval",
            r#"l{"results":{"arc_easy":{"alias":"arc_easy","acc,none":0.5,"acc_stderr,none":0.02}},"configs":{"arc_easy":{"num_fewshot":0}},"higher_is_better":{"arc_easy":{"acc":true}},"n-samples":{"arc_easy":{"original":10,"effective":10}}}"#,
        ),
        (
            "tamperbench",
            r#"t{"models":["a"],"attacks":["b"],"no_tampering":{"a":{"mmlu_pro_val":0.5,"strong_reject":0.2}},"strong_reject":[[0.7]],"mmlu_pro_val":[[0.4]],"epsilon":0.1}"#,
        ),
    ];
    texts.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}

target!(seeds, |bytes| {
    let Some((kind, text)) = bytes.split_first() else { return };
    let path = write("results.json", text);
    if *kind == b'l' {
        let _ = LmEval::read(&path);
    } else {
        let _ = tamperbench(&path, 0.1);
    }
});
