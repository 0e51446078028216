//! The lists that providers publish of their models: what to ask for them, and how to read them. Pure, like the adapters,
//! each of which has its own provider's ([`super::Adapter::listing`]).

use crate::Site;
use crate::call::Call;
use crate::fault::{Fault, FaultKind};
use rust_decimal::Decimal;
use serde_json::Value;

/// A provider's list of its models.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// What to ask for, where these endpoints are of interest.
    pub readings: fn(site: &Site, endpoints: &[&str]) -> Vec<Reading>,
    /// The lines of an answer, which is about these endpoints.
    pub lines: fn(answer: &Value, about: &[String]) -> Vec<Listed>,
}

/// One reading of a provider's list.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The exchange.
    pub call: Call,
    /// Whether it is asked without the key, from a host that is not the API's.
    pub open: bool,
    /// The endpoints that it is asked about; none when it lists everything.
    pub about: Vec<String>,
}

/// One line of a provider's list.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    /// The provider's id of the model or endpoint.
    pub id: String,
    /// The last day on which it is served, `YYYY-MM-DD`.
    pub ends: Option<String>,
    /// Its prices in USD, whatever they are for.
    pub prices: Vec<Decimal>,
}

impl Listing {
    /// Reads an answer.
    pub fn read(&self, body: &[u8], about: &[String]) -> Result<Vec<Listed>, Fault> {
        let answer: Value = serde_json::from_slice(body)
            .map_err(|error| Fault::new(FaultKind::Malformed, format!("the list does not parse: {error}")))?;
        Ok((self.lines)(&answer, about))
    }
}

impl Reading {
    /// The whole list, below the API's address.
    pub(super) fn whole(site: &Site, path: &str) -> Self {
        Self { call: Call::fetch(format!("{}{path}", site.base_url)), open: false, about: Vec::new() }
    }
}

/// Where a list is that has a host of its own: there, unless calls go elsewhere than to the usual address (a simulator, a
/// relay); then below the same address.
pub(super) fn base<'a>(site: &'a Site, usual: &str, own: &'a str) -> &'a str {
    if site.base_url == usual { own } else { &site.base_url }
}

/// The rows of an answer.
pub(super) fn rows<'a>(answer: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    answer[field].as_array().into_iter().flatten()
}

/// A list of models as OpenAI writes it: `data`, each with an `id`.
pub(super) fn models(answer: &Value) -> impl Iterator<Item = Listed> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rows(answer, "data").filter_map(move |row| {
        Some(Listed { id: text(&row["id"])?, ends: text(&row["shutdown_date"]), prices: Vec::new() })
    })
}

/// The amount in a number or in a text such as `$0.0025/MP`.
pub(super) fn amount(value: &Value) -> Option<Decimal> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let from = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number: String = from.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    number.trim_end_matches('.').parse::<Decimal>().ok().map(|amount| amount.normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(provider: &str) -> Listing {
        crate::find(provider).unwrap().listing().unwrap()
    }

    #[test]
    fn lists_are_asked_where_they_are() {
        let urls = |provider: &str, base_url: &str| -> Vec<String> {
            let site = Site { base_url: base_url.to_owned() };
            let readings = (listing(provider).readings)(&site, &["a/b", "c"]);
            readings.into_iter().map(|reading| reading.call.url).collect()
        };
        let fal = "/v1/models/pricing?endpoint_id=a/b&endpoint_id=c";
        assert_eq!(urls("fal", "https://queue.fal.run"), [format!("https://api.fal.ai{fal}")]);
        assert_eq!(urls("fal", "http://s/fal"), [format!("http://s/fal{fal}")]);
        assert_eq!(urls("replicate", "https://r"), ["https://r/models/a/b", "https://r/models/c"]);
        assert_eq!(urls("openrouter", "https://o"), ["https://o/images/models", "https://o/videos/models"]);
        assert!(crate::find("bfl").unwrap().listing().is_none());
    }

    #[test]
    fn every_list_is_read() {
        let read = |provider: &str, body: &str| listing(provider).read(body.as_bytes(), &["asked".to_owned()]).unwrap();
        let [openai] = &read(
            "openai",
            r#"{"data": [{"id": "gpt-5"}, {"id": "gpt-image-1.5", "shutdown_date": "2026-12-01"}]}"#,
        )[..] else {
            panic!("texts are not told")
        };
        assert_eq!((openai.id.as_str(), openai.ends.as_deref()), ("gpt-image-1.5", Some("2026-12-01")));
        let fal = read(
            "fal",
            r#"{"prices": [{"endpoint_id": "fal-ai/x", "unit_price": 0.030, "unit": "images", "currency": "USD"}]}"#,
        );
        assert_eq!(fal[0].prices, ["0.03".parse().unwrap()]);
        let runware = read(
            "runware",
            r#"{"air": "a", "pricingOverview": "$0.0025/MP", "pricingExamples": [{"price": "$0.0025"}, {"price": 0.01}]}"#,
        );
        assert_eq!((runware[0].id.as_str(), runware[0].prices.len()), ("asked", 2));
        assert_eq!(read("replicate", "{}")[0].id, "asked");
        assert!(listing("openai").read(b"<html>", &[]).is_err());
    }
}
