//! The origin of the book is compiled and run.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use titer_data::Split;
use titer_data::origins::{self, KINDS, UnderTest};

#[path = "../examples/own_origin.rs"]
mod example;

#[test]
fn the_books_origin_deals_its_items_out() {
    let names = |numbers: [usize; 2]| numbers.map(|number| format!("hitches/{number}")).to_vec();
    assert_eq!(example::dealt().unwrap(), [names([1, 5]), names([3, 7])]);
    assert!(example::main().is_ok());
}

#[test]
fn what_comes_with_titer_is_read_dealt_and_revived_by_its_kind() {
    for kind in KINDS {
        assert!(std::ptr::eq(origins::kind(KINDS, kind.name).unwrap(), *kind));
        for (name, text) in kind.builtin {
            let (read_by, origin) = origins::parse(KINDS, text, kind.model).unwrap();
            assert_eq!((read_by.name, origin.name()), (kind.name, *name));
            let revived = (kind.revive)(&origin.definition().unwrap()).unwrap();
            assert_eq!(revived.definition().unwrap(), origin.definition().unwrap());
            assert_eq!(
                (revived.counts().unwrap(), revived.domains()),
                (origin.counts().unwrap(), origin.domains())
            );
            assert!(revived.counts().unwrap()[&Split::Attack] > 0);
            if revived.sources().is_empty() {
                assert!(revived.deal(0, BTreeMap::new()).is_ok(), "{name}");
            }
        }
    }
}

#[test]
fn a_file_says_of_which_kind_it_is() {
    let (name, text) = origins::kind(KINDS, "policy").unwrap().builtin[0];
    let said = |origin: &str, model| {
        let text = format!("# Mine.\norigin = \"{origin}\" # of this kind\n{text}");
        origins::parse(KINDS, &text, model).map(|(kind, data)| (kind.name, data.name().to_owned()))
    };
    assert_eq!(said("policy", UnderTest::Aligned).unwrap(), ("policy", name.to_owned()));
    let problem = |origin: &str, model| said(origin, model).unwrap_err().to_string();
    assert_eq!(
        problem("riddle", UnderTest::Aligned),
        "data definition: origin: there is no kind riddle; known: world, policy, dataset"
    );
    assert_eq!(
        problem("policy", UnderTest::Ready),
        "data definition: origin: a policy is named by another key of [model]; this one names: dataset"
    );
}

#[test]
fn mistakes_keep_their_lines_below_the_kind() {
    let text = "name = \"x\"\norigin = \"policy\"\nno_such_key = 1\n";
    let error = origins::parse(KINDS, text, UnderTest::Aligned).unwrap_err().to_string();
    assert!(error.contains("line 3"), "{error}");
}
