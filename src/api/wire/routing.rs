//! Routing preferences of a call: the body's `provider`, and the same as headers. The body wins.

use super::fields::{Fields, invalid_value};
use crate::base::nearest::nearest;
use crate::base::{AllowedModels, Usd};
use crate::error::Error;
use crate::pipeline::{Preferences, Sort};
use axum::http::HeaderMap;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Takes `provider` out of a body: an object of preferences, or a name (or several, separated by commas) for `only`.
/// `known`: the providers of the catalog.
pub(in crate::api) fn read_preferences(
    fields: &mut Map<String, Value>,
    headers: &HeaderMap,
    known: &[String],
) -> Result<Preferences, Error> {
    let mut preferences = from_headers(headers);
    match fields.remove("provider") {
        None | Some(Value::Null) => {}
        Some(Value::Object(own)) => preferences.extend(own),
        // Forms send text only.
        Some(Value::String(text)) if text.trim_start().starts_with('{') => match serde_json::from_str(&text) {
            Ok(Value::Object(own)) => preferences.extend(own),
            _ => return Err(invalid_value("provider", EXPECTED, &json!(text))),
        },
        Some(Value::String(text)) => drop(preferences.insert("only".to_owned(), split(&text))),
        Some(other) => return Err(invalid_value("provider", EXPECTED, &other)),
    }
    read(Fields(preferences), known).map_err(|error| {
        let param = error.param.map(|name| format!("provider.{name}"));
        Error { param, ..error }
    })
}

const EXPECTED: &str = "an object with order, only, ignore, sort, allow_fallbacks or max_price";

fn read(mut fields: Fields, known: &[String]) -> Result<Preferences, Error> {
    let sort = match fields.string("sort")?.as_deref() {
        None => None,
        Some("price") => Some(Sort::Price),
        Some("latency") => Some(Sort::Latency),
        Some("success") => Some(Sort::Success),
        Some(other) => return Err(invalid_value("sort", "'price', 'latency' or 'success'", &json!(other))),
    };
    let allow_fallbacks = fields.bool("allow_fallbacks")?.unwrap_or(true);
    let max_price = match fields.take("max_price") {
        None => None,
        Some(value) => {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let amount = text.trim().parse().ok().and_then(Usd::from_dollars).filter(|usd| *usd >= Usd::ZERO);
            Some(amount.ok_or_else(|| invalid_value("max_price", "an amount in US dollars, such as 0.05", &value))?)
        }
    };
    let preferences = Preferences {
        order: provider_names(&mut fields, "order", known)?,
        only: provider_names(&mut fields, "only", known)?,
        ignore: provider_names(&mut fields, "ignore", known)?,
        sort,
        no_fallbacks: !allow_fallbacks,
        max_price,
        allowed: AllowedModels::default(),
    };
    fields.refuse_unknown(&["order", "only", "ignore", "sort", "allow_fallbacks", "max_price"])?;
    Ok(preferences)
}

fn provider_names(fields: &mut Fields, field: &str, known: &[String]) -> Result<Vec<String>, Error> {
    let list = match fields.take(field) {
        None => return Ok(Vec::new()),
        Some(Value::String(text)) => split(&text),
        Some(list) => list,
    };
    fields.0.insert(field.to_owned(), list);
    let list = fields.strings(field)?.unwrap_or_default();
    let provider = |name: &str| name.split('/').next().unwrap_or_default().to_owned();
    match list.iter().find(|name| !known.contains(&provider(name))) {
        None => Ok(list),
        Some(unknown) => {
            let near = nearest(&provider(unknown), known.iter().map(String::as_str));
            let hint = near.map(|near| format!(" Did you mean '{near}'?")).unwrap_or_default();
            let shown: String = unknown.chars().take(60).collect();
            Err(Error::invalid(field, format!("There is no provider '{shown}'.{hint}")))
        }
    }
}

fn split(text: &str) -> Value {
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
}

fn from_headers(headers: &HeaderMap) -> Map<String, Value> {
    let pairs = [
        ("x-lumenfall-provider-order", "order"),
        ("x-lumenfall-provider-only", "only"),
        ("x-lumenfall-provider-ignore", "ignore"),
        ("x-lumenfall-provider-sort", "sort"),
        ("x-lumenfall-allow-fallbacks", "allow_fallbacks"),
        ("x-lumenfall-max-price", "max_price"),
    ];
    let present = pairs.into_iter().filter_map(|(header, field)| {
        Some((field.to_owned(), Value::from(headers.get(header)?.to_str().unwrap_or_default())))
    });
    present.collect()
}

/// The caller's own timeout: `X-Lumenfall-Timeout-Ms`.
pub(in crate::api) fn read_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("x-lumenfall-timeout-ms") else { return Ok(None) };
    let millis = value.to_str().ok().and_then(|text| text.trim().parse().ok()).filter(|millis| *millis > 0);
    let invalid = || {
        let text = "'X-Lumenfall-Timeout-Ms' should be a positive whole number of milliseconds.";
        Error::invalid("X-Lumenfall-Timeout-Ms", text)
    };
    millis.map(|millis| Some(Duration::from_millis(millis))).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(body: Value, headers: &[(&'static str, &'static str)]) -> Result<Preferences, Error> {
        let headers = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)));
        let known = ["fal", "bfl", "openai"].map(str::to_owned);
        let mut fields = serde_json::from_value::<Map<String, Value>>(body).unwrap();
        let read = read_preferences(&mut fields, &headers.collect(), &known);
        assert!(!fields.contains_key("provider"), "no provider ever sees it");
        read
    }

    #[test]
    fn body_and_headers_say_the_same_and_the_body_wins() {
        let body = json!({"order": ["fal", "bfl/flux-2-pro"], "ignore": ["openai"], "sort": "price",
            "allow_fallbacks": false, "max_price": 0.05});
        let by_body = read(json!({"provider": body}), &[]).unwrap();
        let headers = [
            ("x-lumenfall-provider-order", "fal, bfl/flux-2-pro"),
            ("x-lumenfall-provider-ignore", "openai"),
            ("x-lumenfall-provider-sort", "price"),
            ("x-lumenfall-allow-fallbacks", "false"),
            ("x-lumenfall-max-price", "0.05"),
        ];
        assert_eq!(read(json!({}), &headers).unwrap(), by_body);
        assert_eq!(by_body.max_price, Some(Usd::from_micros(50_000)));
        let mixed = read(json!({"provider": {"sort": "latency"}}), &headers).unwrap();
        assert_eq!((mixed.sort, mixed.order), (Some(Sort::Latency), by_body.order));
        assert_eq!(read(json!({"provider": "fal"}), &[]).unwrap().only, ["fal"]);
        assert_eq!(read(json!({"provider": "{\"only\": [\"fal\"]}"}), &[]).unwrap().only, ["fal"]);
        assert_eq!(read(json!({"provider": null}), &[]).unwrap(), Preferences::default());
    }

    #[test]
    fn every_mistake_names_its_field() {
        for (field, value) in [
            ("order", json!(["fall"])),
            ("only", json!([7])),
            ("ignore", json!({})),
            ("sort", json!("cheap")),
            ("allow_fallbacks", json!("perhaps")),
            ("max_price", json!(-1)),
            ("max_price", json!("much")),
            ("oder", json!(["fal"])),
        ] {
            let error = read(json!({"provider": {field: value}}), &[]).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(format!("provider.{field}").as_str()), "{}", error.message);
        }
        assert_eq!(read(json!({"provider": 7}), &[]).unwrap_err().param.as_deref(), Some("provider"));
    }

    #[test]
    fn timeouts_are_positive_whole_milliseconds() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-lumenfall-timeout-ms", HeaderValue::from_static(text));
            read_timeout(&headers)
        };
        assert_eq!(read("1500").unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(read_timeout(&HeaderMap::new()).unwrap(), None);
        for bad in ["0", "-1", "1.5", "soon", ""] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
