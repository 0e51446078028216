//! Text as both databases take it. PostgreSQL's text knows no NUL, and refuses index rows beyond 2.7 kB, so names are
//! bounded.

/// How many characters of a name are kept.
pub(crate) const MAX_NAME_CHARS: usize = 256;

/// A name as it is stored, also for comparing with stored ones.
pub(crate) fn stored_name(text: &str) -> String {
    let mut name = text.to_owned();
    clean(&mut name, MAX_NAME_CHARS);
    name
}

/// Cuts a text to so many characters and replaces NUL.
pub(crate) fn clean(text: &mut String, max_chars: usize) {
    if let Some((end, _)) = text.char_indices().nth(max_chars) {
        text.truncate(end);
    }
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        let cleaned = |text: &str, limit| {
            let mut text = text.to_owned();
            clean(&mut text, limit);
            text
        };
        assert_eq!(cleaned("żółw\0", 3), "żół");
        assert_eq!(cleaned("a\0b", 9), "a\u{fffd}b");
    }
}
