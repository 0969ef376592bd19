//! Names as they are met.

/// Each item once, in the order met. For few items: each is compared with all that came before.
pub fn distinct<T: PartialEq>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut met = Vec::new();
    for item in items {
        if !met.contains(&item) {
            met.push(item);
        }
    }
    met
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stands_where_it_was_met_first() {
        assert_eq!(distinct(["b", "a", "b", "c", "a"]), ["b", "a", "c"]);
        assert!(distinct(Vec::<u8>::new()).is_empty());
    }
}
