//! The lists that providers publish of their models: what to ask for them, and how to read them. Pure, like the adapters.
//!
//! OpenAI: `GET /models` with `shutdown_date`. OpenRouter: `GET /images/models`, `GET /videos/models`. fal:
//! `GET https://api.fal.ai/v1/models/pricing`. Replicate: `GET /models/{owner}/{name}`. Runware:
//! `GET https://content.runware.ai/models/{AIR}/pricing`, without a key. Read 2026-11.

use crate::fault::{Fault, FaultKind};
use crate::outbound::call::Call;
use rust_decimal::Decimal;
use serde_json::Value;

/// How many endpoints fal is asked about at once: an address stays short enough.
const AT_ONCE: usize = 20;

/// One reading of a provider's list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
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

/// What to ask for, of a provider at `base_url`. `usual` is its usual address: elsewhere (a simulator, a relay), what has a
/// host of its own is looked for below the same address. `None`: it publishes no list that we can read.
pub fn readings(provider: &str, base_url: &str, usual: &str, endpoints: &[&str]) -> Option<Vec<Listing>> {
    let at = |host: &str, path: &str| {
        let base = if base_url == usual && !host.is_empty() { format!("https://{host}") } else { base_url.to_owned() };
        Call::fetch(format!("{base}{path}"))
    };
    let whole = |path: &str| Listing { call: at("", path), open: false, about: Vec::new() };
    Some(match provider {
        "openai" => vec![whole("/models")],
        "openrouter" => vec![whole("/images/models"), whole("/videos/models")],
        "fal" => endpoints
            .chunks(AT_ONCE)
            .map(|some| {
                let query: Vec<String> = some.iter().map(|id| format!("endpoint_id={id}")).collect();
                let call = at("api.fal.ai", &format!("/v1/models/pricing?{}", query.join("&")));
                Listing { call, open: false, about: some.iter().map(|id| (*id).to_owned()).collect() }
            })
            .collect(),
        "replicate" => {
            let one = |id: &&str| {
                let name = id.split(':').next().unwrap_or_default();
                Listing { about: vec![(*id).to_owned()], ..whole(&format!("/models/{name}")) }
            };
            endpoints.iter().map(one).collect()
        }
        "runware" => {
            let one = |id: &&str| {
                let call = at("content.runware.ai", &format!("/models/{id}/pricing"));
                Listing { call, open: true, about: vec![(*id).to_owned()] }
            };
            endpoints.iter().map(one).collect()
        }
        _ => return None,
    })
}

/// The lines of an answer. Of OpenAI's models only those that make pictures or videos are told.
pub fn read(provider: &str, body: &[u8], about: &[String]) -> Result<Vec<Listed>, Fault> {
    let body: Value = serde_json::from_slice(body)
        .map_err(|error| Fault::new(FaultKind::Malformed, format!("the list does not parse: {error}")))?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let rows = |key: &str| body[key].as_array().cloned().unwrap_or_default();
    Ok(match provider {
        "fal" => rows("prices")
            .iter()
            .filter_map(|row| {
                Some(Listed { id: text(&row["endpoint_id"])?, ends: None, prices: amounts(&row["unit_price"]) })
            })
            .collect(),
        "runware" => {
            let prices = || rows("pricingExamples").iter().flat_map(|row| amounts(&row["price"])).collect();
            about.iter().map(|id| Listed { id: id.clone(), prices: prices(), ends: None }).collect()
        }
        "replicate" => about.iter().map(|id| Listed { id: id.clone(), ..Listed::default() }).collect(),
        _ => rows("data")
            .iter()
            .filter_map(|row| {
                Some(Listed { id: text(&row["id"])?, ends: text(&row["shutdown_date"]), prices: Vec::new() })
            })
            .filter(|one| provider != "openai" || draws(&one.id))
            .collect(),
    })
}

fn draws(id: &str) -> bool {
    ["gpt-image", "chatgpt-image", "dall-e", "sora"].iter().any(|family| id.starts_with(family))
}

/// The amount in a number or in a text such as `$0.0025/MP`.
fn amounts(value: &Value) -> Vec<Decimal> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let from = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let number: String = from.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    number.trim_end_matches('.').parse::<Decimal>().into_iter().map(|amount| amount.normalize()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_asked_where_they_are() {
        let urls = |provider: &str, base: &str, usual: &str| -> Vec<String> {
            let readings = readings(provider, base, usual, &["a/b", "c"]).unwrap();
            readings.into_iter().map(|reading| reading.call.url).collect()
        };
        let fal = "https://queue.fal.run";
        assert_eq!(urls("fal", fal, fal), ["https://api.fal.ai/v1/models/pricing?endpoint_id=a/b&endpoint_id=c"]);
        assert_eq!(urls("fal", "http://s/fal", fal), ["http://s/fal/v1/models/pricing?endpoint_id=a/b&endpoint_id=c"]);
        assert_eq!(urls("replicate", "https://r", "https://r"), ["https://r/models/a/b", "https://r/models/c"]);
        assert_eq!(readings("bfl", "https://b", "https://b", &[]), None);
    }

    #[test]
    fn every_list_is_read() {
        let ids = |provider: &str, body: &str| read(provider, body.as_bytes(), &["asked".to_owned()]).unwrap();
        let [openai] = &ids(
            "openai",
            r#"{"data": [{"id": "gpt-5"}, {"id": "gpt-image-1.5", "shutdown_date": "2026-12-01"}]}"#,
        )[..] else {
            panic!("texts are not told")
        };
        assert_eq!((openai.id.as_str(), openai.ends.as_deref()), ("gpt-image-1.5", Some("2026-12-01")));
        let fal = ids(
            "fal",
            r#"{"prices": [{"endpoint_id": "fal-ai/x", "unit_price": 0.030, "unit": "images", "currency": "USD"}]}"#,
        );
        assert_eq!(fal[0].prices, ["0.03".parse().unwrap()]);
        let runware = ids(
            "runware",
            r#"{"air": "a", "pricingOverview": "$0.0025/MP", "pricingExamples": [{"price": "$0.0025"}, {"price": 0.01}]}"#,
        );
        assert_eq!((runware[0].id.as_str(), runware[0].prices.len()), ("asked", 2));
        assert!(read("openai", b"<html>", &[]).is_err());
    }
}
