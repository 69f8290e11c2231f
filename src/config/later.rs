//! Destinations that the format names and this version does not have.

/// Their types, and what they are called.
const TYPES: &[(&str, &str)] = &[("slack", "Slack"), ("teams", "Microsoft Teams")];

/// What a destination is called that is one of those; `fits` says whether a type is meant.
pub(super) fn later(fits: impl Fn(&str) -> bool) -> Option<&'static str> {
    TYPES.iter().find(|(word, _)| fits(word)).map(|(_, what)| *what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors;

    #[test]
    fn no_destination_is_both_here_and_to_come() {
        let is_here = |word: &str| vendors::find(word).is_some();
        assert_eq!(later(is_here), None, "it is here: take it out of the list");
    }
}
