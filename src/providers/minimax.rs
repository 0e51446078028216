//! MiniMax images: one synchronous call, base64 inside the JSON answer.
//! <https://platform.minimax.io/docs/api-reference/image-generation-t2i> (read 2026-11).
//!
//! Every failure is HTTP 200 with a `base_resp.status_code` other than 0, and numbers may come as texts. The catalog's
//! edits are drawn after one person: `subject_reference` of the kind `character`. Videos are not here: their files lie on
//! hosts that the documentation does not name.
//! We know of no official client that takes another address.

use super::{Adapter, Card, Reach, Site, Turn, shapes};
use crate::fault::{Accepted, Fault, FaultKind};
use crate::job::{Brief, Input, Output, Source, Usage};
use crate::outbound::auth::AuthScheme;
use crate::outbound::call::{Call, Reply};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) struct MiniMax;

static CARD: Card = Card {
    id: "minimax",
    name: "MiniMax",
    base_url: "https://api.minimax.io",
    reach: Reach::Hosted,
    auth: AuthScheme::Bearer,
    key_env: "MINIMAX_API_KEY",
    hosts: &[],
    docs: "https://platform.minimax.io/docs/api-reference/image-generation-t2i",
    catalog: include_str!("../../config/catalog/minimax.toml"),
};

impl Adapter for MiniMax {
    fn card(&self) -> &'static Card {
        &CARD
    }

    fn open(&self, brief: &Brief, site: &Site) -> Result<Turn, Fault> {
        let mut body = brief.input.clone();
        body.insert("model".to_owned(), Value::from(brief.model.as_str()));
        body.insert("response_format".to_owned(), Value::from("base64"));
        if !brief.images.is_empty() {
            body.insert("subject_reference".to_owned(), brief.images.iter().map(subject).collect());
        }
        Ok(Turn::Next(Call::submit(format!("{}/v1/image_generation", site.base_url), Value::Object(body))))
    }

    fn read(&self, _asked: &Call, reply: &Reply, _site: &Site) -> Result<Turn, Fault> {
        let answer: Answer<'_> = reply.json()?;
        if let Some(verdict) = &answer.base_resp
            && let Some(fault) = verdict.fault()
        {
            return Err(fault.status(reply.status).retry_after(reply.retry_after));
        }
        let pictures = answer.data.unwrap_or_default();
        let inline = pictures.image_base64.into_iter().flatten().map(|text| text.into_source(&reply.body));
        let linked = pictures.image_urls.into_iter().flatten().map(Source::Link);
        let outputs = inline.chain(linked).map(|source| Output { source, revised_prompt: None }).collect();
        Ok(Turn::Done(outputs, Usage::default()))
    }

    fn fault(&self, asked: &Call, reply: &Reply) -> Fault {
        let told: Option<Answer<'_>> = serde_json::from_slice(&reply.body).ok();
        let fault = told.and_then(|answer| answer.base_resp?.fault());
        match fault {
            Some(fault) => fault.status(reply.status).retry_after(reply.retry_after),
            None => shapes::fault(asked, reply),
        }
    }
}

fn subject(image: &Input) -> Value {
    json!({"type": "character", "image_file": image.data_uri()})
}

/// What a status code means, and whether the work may have been done by then. Codes from 1026 on are not in the
/// maker's own table; sources differ on 1039, which is taken for a limit of tokens a minute.
fn verdict(code: &str) -> (FaultKind, Accepted) {
    match code {
        "1002" | "1039" => (FaultKind::RateLimited, Accepted::No),
        "1004" | "1008" | "1028" | "1030" | "2049" | "2061" => (FaultKind::Auth, Accepted::No),
        "1001" => (FaultKind::Timeout, Accepted::Maybe),
        "1000" | "1024" => (FaultKind::Unavailable, Accepted::Maybe),
        "1026" => (FaultKind::Moderated, Accepted::No),
        "1027" => (FaultKind::Moderated, Accepted::Maybe),
        "2013" => (FaultKind::BadRequest, Accepted::No),
        _ => (FaultKind::Malformed, Accepted::Maybe),
    }
}

/// Borrowed from the reply: a picture stays where it arrived.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Pictures<'a>>,
    base_resp: Option<Verdict>,
}

#[derive(Deserialize, Default)]
struct Pictures<'a> {
    #[serde(borrow)]
    image_base64: Option<Vec<shapes::Text<'a>>>,
    image_urls: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Verdict {
    /// A number, perhaps written as a text.
    status_code: Value,
    #[serde(default)]
    status_msg: String,
}

impl Verdict {
    fn fault(&self) -> Option<Fault> {
        let code = self.status_code.as_str().map_or_else(|| self.status_code.to_string(), str::to_owned);
        if code == "0" {
            return None;
        }
        let (kind, accepted) = verdict(&code);
        let message =
            if self.status_msg.is_empty() { format!("MiniMax answered {code}") } else { self.status_msg.clone() };
        Some(Fault::new(kind, message).accepted(accepted).code(Some(code)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use bytes::Bytes;

    #[test]
    fn pictures_are_slices_of_the_reply() {
        let body = Bytes::from(r#"{"data": {"image_base64": ["AAAA", "BB\/B"]}, "base_resp": {"status_code": 0}}"#);
        let reply = Reply::new(200, Vec::new(), body.clone(), Timestamp::from_millis(0));
        let asked = Call::submit(String::new(), Value::Null);
        let turn = MiniMax.read(&asked, &reply, &Site { base_url: String::new() }).unwrap();
        let Turn::Done(outputs, _) = turn else { panic!("{turn:?}") };
        let texts: Vec<&Bytes> = outputs
            .iter()
            .filter_map(|output| if let Source::Base64(text) = &output.source { Some(text) } else { None })
            .collect();
        assert_eq!((&texts[0][..], &texts[1][..]), (b"AAAA".as_slice(), b"BB/B".as_slice()));
        assert!(body.as_ptr_range().contains(&texts[0].as_ptr()), "copied");
    }

    #[test]
    fn codes_come_as_numbers_and_as_texts() {
        for code in [json!(1026), json!("1026")] {
            let fault = Verdict { status_code: code, status_msg: "input new_sensitive".into() }.fault().unwrap();
            assert_eq!((fault.kind, fault.upstream_code.as_deref()), (FaultKind::Moderated, Some("1026")));
        }
        assert_eq!(Verdict { status_code: json!("0"), status_msg: String::new() }.fault(), None);
    }
}
