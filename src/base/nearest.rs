//! "Did you mean": the known name nearest to a mistyped one.

/// The candidate most like `name`, or `None` when nothing is close enough to be a typo of it.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typos_and_nothing_else() {
        let models = ["gpt-image-2", "flux.2-max", "mock-image"];
        assert_eq!(nearest("gpt-imge-2", models), Some("gpt-image-2"));
        assert_eq!(nearest("GPT-IMAGE-2", models), Some("gpt-image-2"));
        assert_eq!(nearest("flux-2-max", models), Some("flux.2-max"));
        assert_eq!(nearest("zzzz", models), None);
    }
}
