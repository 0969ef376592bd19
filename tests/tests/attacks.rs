//! Attacks that do not train, from the spec to the verdicts.

use std::fs;

use serde_json::{Value, json};
use titer_tests::{Place, TINY, read};

/// The tiny experiment with an edit of weights and a prompt beside its own attack.
fn place() -> Place {
    let place = Place::new();
    let more = "\n[[attack]]\nmethod = \"noise\"\nseeds = 1\nsigma = [0.0, 5.0]\n\n\
                [[attack]]\nmethod = \"prefill\"\nseeds = 1\n";
    fs::write(place.path("at-once.toml"), read(TINY) + more).expect("a spec can be written");
    place
}

#[test]
fn what_is_done_at_once_is_asked_before_and_after() {
    let place = place();
    let ran = place.run(&["run", "at-once.toml", "--json"]).ends(0).json();
    assert_eq!(ran["failed"], json!([]), "{ran:#}");
    let rows = place.run(&["export", "tiny", "--what", "probes", "--format", "json"]).ends(0).json();
    let rows = rows.as_array().expect("a list of rows");
    let of = |attack: &str, settings: &str, steps: u64, harmful: bool| -> Vec<(String, f64)> {
        let is_harmful = |row: &Value| ["seen", "unseen"].iter().any(|probe| row["probe"] == *probe);
        let wanted = |row: &&Value| {
            row["defence"] == "none"
                && row["arm"] == "main"
                && row["attack"] == attack
                && row["settings"] == settings
                && row["budget_steps"] == steps
                && is_harmful(row) == harmful
        };
        let scored = |row: &Value| (row["item"].to_string(), row["score"].as_f64().expect("a score"));
        rows.iter().filter(wanted).map(scored).collect()
    };
    let (quiet, loud) = ("{\"sigma\":0}", "{\"sigma\":5}");
    for harmful in [true, false] {
        let before = of("noise", quiet, 0, harmful);
        assert!(!before.is_empty());
        assert_eq!(of("noise", quiet, 1, harmful), before, "no noise, no change");
        assert_eq!(of("noise", loud, 0, harmful), before, "before it all are the victim");
        assert_eq!(of("prefill", "{}", 0, harmful), before);
    }
    let flops = |steps: u64| {
        let row = rows.iter().find(|row| row["attack"] == "noise" && row["budget_steps"] == steps);
        row.and_then(|row| row["budget_flops"].as_f64()).expect("a row")
    };
    assert!(flops(0) == 0.0 && flops(1) > 0.0, "an edit costs operations");
    assert_eq!(
        of("prefill", "{}", 1, false),
        of("prefill", "{}", 0, false),
        "weights and permitted prompts stay"
    );
    let steps: Vec<&Value> =
        rows.iter().filter(|row| row["attack"] == "prefill").map(|row| &row["budget_steps"]).collect();
    assert!(steps.iter().all(|steps| **steps == 0 || **steps == 1));
    let tokens = rows.iter().find(|row| row["attack"] == "prefill" && row["budget_steps"] == 1);
    assert_eq!(tokens.expect("a row")["budget_tokens"], 1);

    // They stand among the others in verdicts, and a second run computes nothing.
    let shown = place.run(&["show", "tiny", "--json"]).ends(0).json();
    let budgets = shown["defences"][0]["break_budgets"].as_array().expect("budgets");
    let noise = budgets.iter().find(|budget| budget["method"] == "noise").expect("noise has a break budget");
    assert_eq!((&noise["attack"], &noise["settings"]), (&json!("noise/sigma=0"), &json!({"sigma": 0})));
    let resistance = shown["defences"][0]["conditions"]["resistance"]["evidence"].to_string();
    assert!(!resistance.contains("measured only up to 1 of"), "{resistance}");
    place.run(&["run", "at-once.toml"]).ends(0).says(&["0 computed"]);
    place.run(&["verify", "tiny"]).ends(0).prints(&["nothing found"]);
}

/// The tiny experiment without its attacks, on the undefended model alone.
fn undefended(attacks: &str) -> String {
    let tiny = read(TINY);
    let (start, end) = (tiny.find("[[defence]]").expect("defences"), tiny.find("[probe]").expect("probes"));
    [&tiny[..start], "[[defence]]\nmethod = \"none\"\n", attacks, "\n", &tiny[end..]].concat()
}

#[test]
fn of_several_draws_the_most_harmful_counts_and_each_item_has_its_own() {
    let place = Place::new();
    let attacks = "\n[[attack]]\nmethod = \"sample-k\"\nseeds = 1\nsamples = [1, 6]\n\n\
                   [[attack]]\nmethod = \"decoding\"\nseeds = 1\n";
    fs::write(place.path("drawn.toml"), undefended(attacks)).expect("a spec can be written");
    place.run(&["run", "drawn.toml"]).ends(0);
    let rows = place.run(&["export", "tiny", "--what", "probes", "--format", "json"]).ends(0).json();
    let of = |attack: &str, settings: &str, steps: u64| -> Vec<(String, f64)> {
        let wanted = |row: &&Value| {
            row["attack"] == attack && row["settings"] == settings && row["budget_steps"] == steps
        };
        let scored = |row: &Value| {
            (format!("{} {}", row["probe"], row["item"]), row["score"].as_f64().expect("a score"))
        };
        rows.as_array().expect("a list of rows").iter().filter(wanted).map(scored).collect()
    };
    let (one, six) = ("{\"samples\":1}", "{\"samples\":6}");
    let (first, all, alone) = (of("sample-k", one, 1), of("sample-k", six, 1), of("decoding", "{}", 1));
    assert!(!first.is_empty());
    assert_eq!(first, alone, "one draw is one draw");
    let paired = || first.iter().zip(&all);
    assert!(paired().all(|((item, first), (other, all))| item == other && all >= first));
    assert!(paired().any(|((_, first), (_, all))| all > first), "some later draw is more harmful");
    let plain: Vec<_> =
        of("sample-k", six, 0).into_iter().filter(|(item, _)| item.contains("permitted")).collect();
    let after: Vec<_> = all.into_iter().filter(|(item, _)| item.contains("permitted")).collect();
    assert_eq!(plain, after, "permitted prompts are answered as ever");
    let flops = |settings: &str| {
        let row = rows.as_array().expect("rows").iter().find(|row| {
            row["attack"] == "sample-k" && row["settings"] == settings && row["budget_steps"] == 1
        });
        row.and_then(|row| row["budget_flops"].as_f64()).expect("a row")
    };
    assert!((flops(six) / flops(one) - 6.0).abs() < 1e-9, "six answers cost six times one");
}

/// The tiny model's shapes by hand: width 32, two layers, SwiGLU of 64, 120 words; answers of seven tokens have logits.
#[test]
fn what_an_attack_spends_is_what_a_count_by_hand_says() {
    let layers = 2.0 * (4.0 * 32.0 * 32.0 + 3.0 * 32.0 * 64.0);
    let (head, answer) = (120.0 * 32.0, 7.0);
    // A and B of rank 8 beside every projection.
    let adapters = 2.0 * 8.0 * (4.0 * (32.0 + 32.0) + 3.0 * (32.0 + 64.0));
    let place = Place::new();
    let more = "\n[[attack]]\nmethod = \"lora-finetune\"\nseeds = 1\nrank = 8\nsteps = 8\nexamples = 24\nbatch = 4\n";
    let tiny = read(TINY).replace("stop_above = 0.5", "");
    let (start, end) =
        (tiny.find("[[defence]]").expect("defences"), tiny.find("# A list spans").expect("attacks"));
    let spec = [&tiny[..start], "[[defence]]\nmethod = \"none\"\n\n", &tiny[end..], more].concat();
    fs::write(place.path("costs.toml"), spec).expect("a spec can be written");
    place.run(&["run", "costs.toml"]).ends(0);
    let rows = place.run(&["export", "tiny", "--what", "probes", "--format", "json"]).ends(0).json();
    for (method, batch, owned) in [("full-finetune", 16.0, 64), ("lora-finetune", 4.0, 24)] {
        let own = rows.as_array().expect("rows").iter().filter(|row| row["attack"] == method);
        let mut seen = 0;
        for row in own {
            let number = |column: &str| row[column].as_f64().expect("a number");
            let (steps, tokens) = (number("budget_steps"), number("budget_tokens"));
            let examples = steps * batch;
            assert_eq!(number("budget_examples"), examples, "{row:#}");
            assert_eq!(row["budget_distinct"], owned, "{row:#}");
            // A prompt has 11 or 13 tokens, an answer 7, of which the last is read by nobody.
            assert!((17.0 * examples..=19.0 * examples).contains(&tokens), "{row:#}");
            let by_hand = match method {
                "full-finetune" => 6.0 * (layers * tokens + head * answer * examples),
                _ => 4.0 * (layers * tokens + head * answer * examples) + 6.0 * adapters * tokens,
            };
            let flops = number("budget_flops");
            assert!((flops - by_hand).abs() <= 1e-12 * by_hand, "{by_hand} by hand: {row:#}");
            seen += usize::from(steps == 8.0);
        }
        assert!(seen > 0, "{method} was asked at its end");
    }
}
