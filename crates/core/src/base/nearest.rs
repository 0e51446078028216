//! "Did you mean": the known name nearest to a mistyped one.

/// The candidate most like `name`, or `None` when nothing is close enough to be a typo of it.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near(name, candidates).into_iter().next()
}

/// Every candidate close enough to have been meant, the most alike first.
pub fn near<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let alike = |candidate: &str| strsim::jaro_winkler(&name, &candidate.to_lowercase());
    let mut found: Vec<(f64, &str)> = candidates.into_iter().map(|one| (alike(one), one)).collect();
    found.retain(|(likeness, _)| *likeness >= 0.8);
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, candidate)| candidate).collect()
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
