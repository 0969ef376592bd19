//! Models and data as they come from elsewhere: what stands beside the weights counts, and what would change a number
//! without a word is refused or said.
#![allow(clippy::unwrap_used)]

use std::fs;

use candle_core::Device;
use serde_json::{Value, json};
use titer_data::Stream;
use titer_model::{Decoder, LoraSpec};
use titer_tests::{Place, read};

use crate::tiny_chat::{CHATML, SPEC, place, save_dataset, save_model};

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n";

/// Changes a JSON file of the model `tiny-chat`.
fn edit(place: &Place, file: &str, change: impl FnOnce(&mut Value)) {
    let path = place.path("tiny-chat").join(file);
    let mut json = serde_json::from_str(&read(&path)).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

fn generate(place: &Place, model: &str) -> Value {
    let arguments = ["model", "generate", model, "--prompt", "Hello", "--json", "--max-new-tokens", "6"];
    place.run(&arguments).ends(0).json()
}

#[test]
fn answers_end_where_the_generation_configuration_says_and_what_is_saved_says_so_too() {
    let place = place();
    let first = generate(&place, "tiny-chat")["token_ids"][0].clone();
    let settings = json!({ "eos_token_id": [first], "temperature": 0.6, "max_length": 99 });
    fs::write(place.path("tiny-chat/generation_config.json"), settings.to_string()).unwrap();
    assert_eq!(generate(&place, "tiny-chat")["token_ids"], json!([first]));
    place.run(&["model", "convert", "tiny-chat", "--out", "saved"]).ends(0);
    assert_eq!(generate(&place, "saved")["token_ids"], json!([first]));
    let saved: Value = serde_json::from_str(&read(place.path("saved/generation_config.json"))).unwrap();
    assert_eq!((&saved["temperature"], &saved["max_length"]), (&json!(0.6), &json!(99)));
    // Beside it stand the ends of the configuration and of the template.
    let ends = saved["eos_token_id"].as_array().unwrap();
    assert!(ends.contains(&first) && ends.contains(&json!(2)), "{ends:?}");

    // What else it asks is not done, and said.
    let settings =
        json!({ "repetition_penalty": 1.1, "suppress_tokens": [3], "bad_words_ids": [], "num_beams": 1 });
    fs::write(place.path("tiny-chat/generation_config.json"), settings.to_string()).unwrap();
    let arguments = ["model", "generate", "tiny-chat", "--prompt", "Hello"];
    place
        .run(&arguments)
        .ends(0)
        .says(&["generation_config.json", "repetition_penalty = 1.1, suppress_tokens = [3] is"]);
    fs::write(place.path("tiny-chat/generation_config.json"), "{\"eos_token_id\": \"</s>\"}").unwrap();
    place.run(&arguments).ends(1).says(&["generation_config.json", "eos_token_id", "is no id of a token"]);
}

#[test]
fn a_prompt_without_room_is_refused_with_its_tokens() {
    let (place, long) = (place(), "Hello ".repeat(600));
    for more in [&["--json", "--logits"][..], &[]] {
        let command = ["model", "generate", "tiny-chat", "--prompt", &long];
        let says = ["tokens and", "do not fit into the model's 512 positions"];
        place.run(&[&command, more].concat()).ends(1).says(&says);
    }
}

#[test]
fn special_tokens_beside_the_tokenizer_are_whole() {
    let place = place();
    let whole = generate(&place, "tiny-chat");
    let divided = |place: &Place| {
        edit(place, "tokenizer.json", |json| json["added_tokens"] = json!([]));
        edit(place, "tokenizer_config.json", |json| json["eos_token"] = Value::Null);
    };
    divided(&place);
    let arguments = ["model", "generate", "tiny-chat", "--prompt", "Hello", "--json"];
    let split =
        place.run(&arguments).ends(0).says(&["<|im_start|>, <|im_end|>, which the tokenizer divides"]).json();
    assert_ne!(split["prompt_token_ids"], whole["prompt_token_ids"]);
    edit(&place, "tokenizer_config.json", |json| {
        json["additional_special_tokens"] = json!(["<|im_start|>", "<|im_end|>"]);
    });
    assert_eq!(generate(&place, "tiny-chat")["prompt_token_ids"], whole["prompt_token_ids"]);
    place.run(&["model", "convert", "tiny-chat", "--out", "saved"]).ends(0);
    assert_eq!(generate(&place, "saved")["prompt_token_ids"], whole["prompt_token_ids"]);
}

#[test]
fn pointers_of_git_lfs_are_named_wherever_they_stand() {
    for file in [
        "model.safetensors",
        "model.safetensors.index.json",
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    ] {
        let place = place();
        if file.contains("index") {
            fs::remove_file(place.path("tiny-chat/model.safetensors")).unwrap();
        }
        fs::write(place.path("tiny-chat").join(file), POINTER).unwrap();
        for arguments in [&["model", "generate", "tiny-chat", "--prompt", "Hello"][..], &["run", SPEC]] {
            let code = if arguments[0] == "run" { 2 } else { 1 };
            place.run(arguments).ends(code).says(&[file, "git lfs pull"]);
        }
    }
    let place = place();
    save_dataset(&place);
    fs::write(place.path("task.jsonl"), POINTER).unwrap();
    place.run(&["run", "data.toml"]).ends(2).says(&["task.jsonl", "git lfs pull"]);
}

#[test]
fn a_folder_with_a_model_and_an_adapter_is_refused_and_one_that_changes_nothing_is_named() {
    let place = place();
    let mut model = Decoder::open(&place.path("tiny-chat"), &Device::Cpu).unwrap();
    model.attach(&LoraSpec::everywhere(2, 4.0), &mut Stream::new(1, "adapter").at(0)).unwrap();
    fs::create_dir(place.path("adapter")).unwrap();
    model.save_adapter(&place.path("adapter")).unwrap();
    let adapted = ["model", "generate", "tiny-chat", "--prompt", "Hello", "--adapter"];
    place.run(&[&adapted[..], &["adapter"]].concat()).ends(0).says(&["every B is zero"]);
    place.run(&[&adapted[..], &["tiny-chat"]].concat()).ends(1).says(&["adapter_config.json"]);
    place.run(&["model", "generate", "adapter", "--prompt", "Hello"]).ends(1).says(&["without its model"]);
    model.save_adapter(&place.path("tiny-chat")).unwrap();
    place.run(&["model", "info", "tiny-chat"]).ends(1).says(&["lies in one folder with a model"]);
    place.run(&["run", SPEC]).ends(3).says(&["lies in one folder with a model"]);
}

#[test]
fn templates_that_cannot_be_taught_are_refused_when_the_model_is_taken_in() {
    let place = place();
    let refused = |template: &str, expected: &str| {
        save_model(&place.path("tiny-chat"), 421, template);
        place.run(&["run", SPEC]).ends(3).says(&["failed: checkpoint tiny-chat", expected]);
    };
    let open =
        CHATML.replace("<|im_start|>assistant\n{% endif %}", "<|im_start|>assistant\n<think>\n{% endif %}");
    assert_ne!(open, CHATML);
    refused(&open, "block of thought open");
    refused("{{ messages[0]['role'] }}<|im_end|>", "leaves out what the user says");
    let no_system = format!(
        "{{% if messages[0]['role'] == 'system' %}}{{{{ raise_exception('System role not supported') }}}}{{% endif %}}{CHATML}"
    );
    refused(&no_system, "System role not supported");
}

/// Templates that would never end, fill the memory or overflow the stack: `chat_template` in a folder of a stranger.
#[test]
fn templates_of_strangers_end_and_take_nothing_along() {
    let place = place();
    let many = |text: &str, count: usize| text.repeat(count);
    let hostile = [
        "{{ [[]] * 10 ** 10 }}".to_owned(),
        "{% set ns = namespace(a=1) %}{% set ns.a = ns %}{{ ns }}".to_owned(),
        format!("{{% if {}true %}}x{{% endif %}}", many("not ", 100_000)),
        format!("{{{{ {}1 }}}}", many("-", 100_000)),
        format!("{{% if x %}}{}{{% endif %}}", many("{% elif x %}", 50_000)),
        format!("{{{{ 'a'{} }}}}", many("|upper", 100_000)),
        "{{ 'x' | indent(10 ** 10) }}".to_owned(),
        "{{ '%999999999999d' | format(1) }}".to_owned(),
        "{{ (['a' * 100000] * 100000) | join }}".to_owned(),
        "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"
            .to_owned(),
    ];
    for (number, start) in hostile.iter().enumerate() {
        let file = format!("hostile-{number}.jinja");
        fs::write(place.path(&file), format!("{start}{CHATML}")).unwrap();
        let command = ["model", "generate", "tiny-chat", "--chat-template", &file, "--prompt", "Hello"];
        place.run(&command).ends(1).says(&["chat template: stopped after"]);
    }
    // A count of nothing ends, as in Python.
    fs::write(place.path("count.jinja"), format!("{{% if 'aa'.count('') == 3 %}}{CHATML}{{% endif %}}"))
        .unwrap();
    let command =
        ["model", "generate", "tiny-chat", "--chat-template", "count.jinja", "--prompt", "Hello", "--json"];
    let counted = place.run(&command).ends(0).json();
    assert_eq!(counted["prompt_token_ids"], generate(&place, "tiny-chat")["prompt_token_ids"]);
}

#[test]
fn rows_that_cannot_be_used_and_stray_files_do_not_cost_the_data_set() {
    let place = place();
    save_dataset(&place);
    fs::create_dir_all(place.path("rows/more")).unwrap();
    fs::rename(place.path("task.jsonl"), place.path("rows/more/task.jsonl")).unwrap();
    for (name, text) in
        [("._task.jsonl", "\u{0}"), ("README.md", "# Rows"), ("dataset_infos.json", "{}"), ("notes.txt", "x")]
    {
        fs::write(place.path("rows").join(name), text).unwrap();
    }
    let definition = read(place.path("colours.toml")).replace("\"task.jsonl\"", "\"rows\"");
    fs::write(place.path("colours.toml"), definition).unwrap();
    let rows = read(place.path("harmful.jsonl"));
    let repeated = rows.lines().next().unwrap().replace("red 0?", "RED  0");
    assert_ne!(repeated, rows.lines().next().unwrap());
    fs::write(place.path("harmful.jsonl"), format!("{rows}{repeated}\n{{\"prompt\": \"cut\n")).unwrap();
    place.run(&["run", "data.toml"]).ends(0).says(&[
        "harmful.jsonl: of 38 rows are left out: 1 cannot be used (line 38",
        "1 rows are left out: they repeat another row's prompt",
    ]);
    fs::write(place.path("harmful.jsonl"), format!("{rows}{}", "no row\n".repeat(9))).unwrap();
    place.run(&["run", "data.toml"]).ends(2).says(&["harmful.jsonl: line 37", "9 of 45 rows cannot be used"]);
}
