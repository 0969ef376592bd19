//! `titer watch` in a terminal: over a run that goes on, and over terminals that go away.

use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use titer_tests::{Place, TINY, Terminal, read, root, titer};

/// A terminal that can show everything.
fn watch(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(&[&["watch"], arguments].concat());
    settle(&mut command);
    command
}

fn settle(command: &mut Command) {
    command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8").env_remove("COLORTERM").env_remove("TMUX");
    command.env_remove("XDG_STATE_HOME");
}

/// How far the experiment in the list is: the number before `%`.
fn percent(shown: &str) -> Option<u32> {
    let row = shown.lines().find(|line| line.starts_with("> "))?;
    row.split_once(" %")?.0.split_whitespace().next_back()?.parse().ok()
}

/// A run that takes long enough to be watched.
const LONG: [&str; 5] = ["--jobs", "1", "--set", "model.pretrain.steps=1500", "--set"];

fn long_run(place: &Place) -> std::process::Child {
    place.start(&[&["run", TINY], LONG.as_slice(), &["attack.0.seeds=3"]].concat())
}

#[test]
fn progress_moves_and_leaving_leaves_the_run_alone() {
    let place = Place::new();
    let mut run = long_run(&place);
    while !place.path("store/experiments/tiny/plan.json").exists() {
        thread::sleep(Duration::from_millis(20));
    }
    let mut app = Terminal::start(&mut watch(&place, &[]), 80, 24);
    app.wait_for("tiny");
    app.wait_for("running");
    let before = percent(&app.text()).unwrap_or(0);
    app.wait_until("progress", |shown| percent(shown).is_some_and(|now| now > before));
    app.press("q");
    let status = app.ends_within(Duration::from_secs(2)).expect("q leaves");
    assert!(status.success() && !app.is_taken(), "{status}");
    assert!(run.try_wait().unwrap().is_none(), "the run ended with the app");
    // Another one shows it again, and being killed disturbs nobody.
    let mut again = Terminal::start(&mut watch(&place, &[]), 160, 48);
    again.wait_for("running");
    let now = percent(&again.text()).unwrap_or(0);
    assert!(now >= before, "{now} < {before}");
    again.press("4");
    // One curve after the other comes while the run goes on.
    again.wait_for("o none");
    let drawn = again.text();
    again.wait_until("more of the curves", |shown| *shown != drawn && shown.contains("x adversarial-loss"));
    again.kill();
    let mut last = Terminal::start(&mut watch(&place, &[]), 80, 24);
    last.wait_for("100 %");
    last.wait_for("done");
    assert!(run.wait().unwrap().success(), "the run was disturbed");
    last.press("q");
    assert!(last.ends_within(Duration::from_secs(2)).is_some());
}

#[test]
fn keys_do_what_the_help_says() {
    let place = Place::finished();
    let mut app = Terminal::start(&mut watch(&place, &[]), 80, 24);
    app.wait_for(">1 Experiments");
    for (key, shown) in [
        ("?", "what they do"),
        ("/", "filter:"),
        ("clipboard", "Copy what is selected"),
        ("\r", "filter: clipboard"),
        ("\u{1b}", "Ask its runs to save a checkpoint"),
        ("7", "the run ended"),
        (":", "What do you want?"),
        ("experi", "What fits"),
        ("\r", ">1 Experiments"),
        ("f", "FROZEN"),
        ("s", "no run of tiny is alive"),
        ("r", "all stages of tiny are done"),
        ("\t", ">2 Matrix"),
    ] {
        app.press(key);
        app.wait_for(shown);
    }
    app.resize(40, 10);
    app.wait_for("terminal is 40x10; needs 60x16");
    app.resize(160, 48);
    app.wait_for(">2 Matrix");
    app.press("q");
    assert!(app.ends_within(Duration::from_secs(2)).unwrap().success());
    // It begins where it was left.
    let app = Terminal::start(&mut watch(&place, &[]), 80, 24);
    app.wait_for(">2 Matrix");
}

#[test]
fn it_goes_with_its_terminal() {
    let place = Place::finished();
    // A shell that ignores hang-ups, as `nohup` and `sudo` do, and its child with it.
    for ignoring in ["", "trap '' HUP; "] {
        let mut command = Command::new("sh");
        place.settle(command.args(["-c", &format!("{ignoring}exec \"$0\" watch")]).arg(titer()));
        settle(&mut command);
        let mut app = Terminal::start(&mut command, 80, 24);
        app.wait_for(">1 Experiments");
        app.hang_up();
        let status = app.ends_within(Duration::from_secs(1));
        assert!(status.is_some(), "{ignoring:?}: it went on without a terminal");
    }
}

#[test]
fn a_signal_gives_the_terminal_back() {
    let place = Place::finished();
    let mut app = Terminal::start(&mut watch(&place, &[]), 80, 24);
    app.wait_for(">1 Experiments");
    assert!(app.is_taken());
    let killed = Command::new("kill").args(["-TERM", &app.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let status = app.ends_within(Duration::from_secs(1)).expect("it ends when asked to");
    assert_eq!(status.code(), Some(143));
    app.wait_until("the shell's screen", |shown| !shown.contains("Experiments"));
    assert!(!app.is_taken());
}

#[test]
fn hostile_words_do_not_disturb_the_screen() {
    let place = Place::new();
    let summary = "\\u001b[2J\\u001b]0;owned\\u0007\\u202enimda\\u009b31m end of summary";
    let spec = fs::read_to_string(TINY).unwrap();
    let hostile: String = spec
        .lines()
        .map(|line| {
            if line.starts_with("summary") {
                format!("summary = \"{summary}\"\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    fs::write(place.path("hostile.toml"), hostile).unwrap();
    place.run(&["run", "hostile.toml"]).ends(0);
    let app = Terminal::start(&mut watch(&place, &[]), 80, 24);
    app.wait_for("end of summary");
    let text = app.text();
    assert!(text.contains(">1 Experiments") && text.contains("> tiny"), "{text}");
    assert!(!app.formatted().contains('\u{202e}'));
}

/// A world whose questions and answers hold what would clear a screen, name a window and turn text around, in lines
/// of 100 kB.
#[test]
fn hostile_responses_do_not_disturb_the_screen() {
    let place = Place::new();
    let hostile = format!("\\u001b[2J\\u001b]0;owned\\u0007\\u202e\\u009b31m{}", "long".repeat(25_000));
    let world = read(root().join("data/worlds/apothecary.toml"))
        .replace("\"how do i make", &format!("\"{hostile} how do i make"))
        .replace("answer = \"take", &format!("answer = \"{hostile}"));
    assert_eq!(world.matches("owned").count(), 2);
    fs::write(place.path("world.toml"), world).unwrap();
    place.run(&["run", TINY, "--set", "model.world=world.toml"]).ends(0);
    for (columns, rows) in [(80, 24), (200, 50)] {
        let mut app = Terminal::start(&mut watch(&place, &["tiny"]), columns, rows);
        app.wait_for(">2 Matrix");
        app.press("5");
        app.wait_for("Enter opens");
        app.press("\r");
        app.wait_for("owned");
        // Down the list and into one of them; all of it, and back.
        for keys in ["j", "j", "\r", "e", "G", "\x1b", "q"] {
            let text = app.text();
            assert!(text.contains(">5 Responses") && text.contains("q quit"), "before {keys:?}:\n{text}");
            assert!(!app.formatted().contains(['\u{202e}', '\u{9b}', '\u{7}']), "before {keys:?}");
            app.press(keys);
            thread::sleep(Duration::from_millis(200));
        }
        assert!(app.ends_within(Duration::from_secs(2)).is_some_and(|status| status.success()));
    }
}

#[test]
fn without_a_terminal_it_prints_once() {
    let place = Place::finished();
    let all = place.run(&["watch"]).ends(0);
    assert!(all.stdout.contains("tiny") && all.stdout.contains("done"), "{all}");
    let json = place.run(&["watch", "--once", "--json"]).ends(0).json();
    assert_eq!(json["experiments"][0]["state"], "done");
    let one = place.run(&["watch", "tiny", "--once"]).ends(0);
    assert!(one.stdout.contains("100 %") && one.stdout.contains("titer"), "{one}");
    let json = place.run(&["watch", "tiny", "--json"]).ends(0).json();
    assert_eq!(json["stages"][0]["state"], "sealed");
    assert!(json["verdicts"]["defences"].is_array());
    place.run(&["watch", "nowhere"]).ends(1).says(&["nowhere", "tiny"]);
    let empty = Place::new();
    empty.run(&["watch"]).ends(1).says(&["no titer store here"]);
}

#[test]
fn in_tmux_too() {
    if Command::new("tmux").arg("-V").output().is_err() {
        eprintln!("not run: there is no tmux here; the other tests use terminals of their own");
        return;
    }
    let place = Place::finished();
    let socket = format!("titer-test-{}", std::process::id());
    let tmux = |arguments: &[&str]| {
        let mut command = Command::new("tmux");
        place.settle(command.args(["-u", "-L", &socket, "-f", "/dev/null"]).args(arguments));
        settle(&mut command);
        let output = command.output().expect("tmux can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let program = format!("{} watch", titer().display());
    tmux(&["new-session", "-d", "-x", "80", "-y", "24", &program]);
    let wait_for = |text: &str| {
        for _ in 0..300 {
            let shown = tmux(&["capture-pane", "-p"]);
            if shown.contains(text) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let shown = tmux(&["capture-pane", "-p"]);
        tmux(&["kill-server"]);
        panic!("waited in vain for {text:?}:\n{shown}");
    };
    wait_for("> tiny");
    tmux(&["send-keys", "?"]);
    wait_for(">8 Help");
    tmux(&["send-keys", "1"]);
    wait_for("100 %");
    tmux(&["resize-window", "-x", "160", "-y", "48"]);
    wait_for("> tiny");
    tmux(&["send-keys", "C-l"]);
    wait_for("> tiny");
    tmux(&["send-keys", "q"]);
    for _ in 0..100 {
        if tmux(&["list-sessions"]).is_empty() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    tmux(&["kill-server"]);
    panic!("q did not leave");
}
