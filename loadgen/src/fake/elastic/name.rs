//! Which names an index may have.

/// Why a name is refused; nothing when it is fine.
///
/// Create index API, path parameter `<index>`: lower case only; none of `\ / * ? " < > | , #`, no
/// space and, since 7.0, no colon; not `.` or `..`, not starting with `-`, `_` or `+`; at most 255
/// bytes.
pub(super) fn fault(name: &str) -> Option<String> {
    let what = if name.is_empty() {
        "must not be empty"
    } else if name.chars().any(char::is_uppercase) {
        "must be lowercase"
    } else if name.contains(['\\', '/', '*', '?', '"', '<', '>', '|', ' ', ',', '#']) {
        "must not contain the following characters \
         ['\\\\','/','*','?','\"','<','>','|',' ',',','#']"
    } else if name.contains(':') {
        "must not contain ':'"
    } else if name.starts_with(['-', '_', '+']) {
        "must not start with '_', '-', or '+'"
    } else if name == "." || name == ".." {
        "must not be '.' or '..'"
    } else if name.len() > BYTES_MAX {
        "index name is too long"
    } else {
        return None;
    };
    Some(format!("Invalid index name [{name}], {what}"))
}

/// The limit counts bytes, not characters.
const BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn names_follow_the_reference() {
        for name in ["clawdstrike-security-2026.02.06", "a", ".hidden", "gr\u{fc}n-1"] {
            assert_eq!(fault(name), None);
        }
        let long = "x".repeat(256);
        for name in
            ["", "Upper", "a b", "a*", "-a", "_a", "+a", ".", "..", "a:b", "a#", "a/b", &long]
        {
            assert!(fault(name).is_some(), "{name}");
        }
    }
}
