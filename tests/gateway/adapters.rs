//! Every fixture conversation, twice: through the adapter alone, and through the whole gateway.

use super::kit::{
    DEPLOYED, DEPLOYED_MODEL, Ends, Fixture, KEY, Kit, Scripted, file, fill, film, matches, mime, picture_facts,
    pointed, runner,
};
use bytes::Bytes;
use lumenfall::app;
use lumenfall::base::{Timestamp, Usd};
use lumenfall::catalog::{Catalog, Made, Route};
use lumenfall::config::Config;
use lumenfall::fault::Fault;
use lumenfall::job::{Brief, Input, Job, Mode, Output, ResponseForm, Usage};
use lumenfall::media::{Format, Size, SizeAsk};
use lumenfall::outbound::{Call, Content, Payload, Reply};
use lumenfall::pipeline::brief_for;
use lumenfall::providers::{self, Adapter, Site, Turn};
use serde_json::{Value, json};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::Instant;

const BASE: &str = "https://provider.example";

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let mut catalog = app::embedded_catalog().unwrap();
    catalog.add_deployment(DEPLOYED, DEPLOYED, &[DEPLOYED_MODEL]);
    catalog
});

/// The adapter's side of a conversation, no network.
#[test]
fn adapters_follow_every_conversation() {
    let fixtures = Fixture::all();
    assert!(fixtures.len() >= 12, "only {} fixtures", fixtures.len());
    for fixture in fixtures {
        let adapter = providers::find(fixture.provider()).expect("a fixture folder is a provider's id");
        let outcome = converse(adapter, &fixture);
        if let (Ok((_, usage)), Some(cost)) = (&outcome, fixture.ends.cost.filter(|_| fixture.video().is_some())) {
            let billed = bill(&fixture, usage);
            assert_eq!(json!(billed), json!(cost), "{}: its cost", fixture.name);
        }
        check(&fixture.name, &fixture.ends, outcome.map(|(outputs, _)| outputs));
    }
}

/// What a finished video costs by what the provider says of its bill and by its route's prices.
fn bill(fixture: &Fixture, usage: &Usage) -> Option<f64> {
    let (route, job) = ask(fixture);
    let video = route.video.as_ref().unwrap();
    let seconds = job.seconds.map_or(video.default, |seconds| video.nearest(seconds));
    let made = Made {
        sizes: vec![route.default_size.unwrap_or(Size::new(1280, 720))],
        seconds: seconds.into(),
        input: Some(&brief(fixture).input),
        usage: usage.clone(),
        ..Made::default()
    };
    route.price.charge(&made).amount.map(Usd::as_number)
}

fn check(name: &str, ends: &Ends, outcome: Result<Vec<Output>, Fault>) {
    match outcome {
        Ok(outputs) => assert_eq!(Some(outputs.len()), ends.outputs, "{name}"),
        Err(fault) => {
            assert_eq!(Some(fault.kind.as_str()), ends.fault.as_deref(), "{name}: {fault:?}");
            if let Some(accepted) = &ends.accepted {
                assert_eq!(&json!(fault.accepted), accepted, "{name}: {fault:?}");
            }
        }
    }
}

fn converse(adapter: &dyn Adapter, fixture: &Fixture) -> Result<(Vec<Output>, Usage), Fault> {
    let site = Site { base_url: BASE.to_owned() };
    let mut turns = fixture.turns.iter();
    let mut turn = adapter.open(&brief(fixture), &site)?;
    loop {
        let call = match turn {
            Turn::Done(outputs, usage) => {
                // What is left are downloads, which no adapter sees.
                assert!(turns.all(|turn| turn.reply.is_file()), "{}: finished with turns left", fixture.name);
                return Ok((outputs, usage));
            }
            Turn::Next(call) | Turn::Wait(call) => call,
        };
        let said = turns.next().unwrap_or_else(|| panic!("{}: one call too many: {call:?}", fixture.name));
        let asked = format!("{} {}", call.verb.as_str(), call.url);
        assert_eq!(
            asked,
            format!("{} {}", said.expect.verb, said.expect.url.replace("{base}", BASE)),
            "{}",
            fixture.name
        );
        if let Some(body) = &said.expect.json {
            let Payload::Json(got) = &call.payload else { panic!("{}: no JSON body: {call:?}", fixture.name) };
            let right = fill(body, BASE);
            assert!(matches(&right, got), "{}: {got} instead of {right}", fixture.name);
        }
        if let Some(form) = &said.expect.form {
            assert_eq!(&form_of(&call), form, "{}", fixture.name);
        }
        // Only calls after the submit are stored, and those carry no files.
        if !matches!(call.payload, Payload::Form(_)) {
            assert_stored(&call);
        }
        let headers = said.reply.headers.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()));
        let body = Bytes::from(said.reply.body(BASE));
        let reply = Reply::new(said.reply.status, headers.collect(), body, Timestamp::from_millis(0));
        turn = if reply.ok() { adapter.read(&call, &reply, &site)? } else { return Err(adapter.fault(&call, &reply)) };
    }
}

/// What the pipeline hands to the adapter for the fixture's request.
fn brief(fixture: &Fixture) -> Brief {
    let (route, job) = ask(fixture);
    brief_for(&job, &route).unwrap_or_else(|why| panic!("{}: {why}", fixture.name))
}

/// The fixture's request as a job, and the route that it goes to.
fn ask(fixture: &Fixture) -> (Arc<Route>, Job) {
    let request = &fixture.request;
    let named = CATALOG.find(request["model"].as_str().unwrap()).unwrap();
    let images = inputs(&request["images"]);
    let still = if images.is_empty() { Mode::TextToImage } else { Mode::ImageEdit };
    let mode = fixture.video().unwrap_or(still);
    let fits = |route: &&Arc<Route>| route.provider == fixture.provider() && route.modes.contains(&mode);
    let route = CATALOG.routes(named.model).iter().find(fits).unwrap_or_else(|| panic!("{}: no route", fixture.name));
    let said = |name: &str| text(&request[name]);
    let (size, ratio, tier) = (said("size"), said("aspect_ratio"), said("resolution"));
    let extra = request.as_object().unwrap().clone().into_iter().filter(|(name, _)| !TAKEN.contains(&name.as_str()));
    // What the pipeline makes of a mask before an adapter sees it.
    let white = route.inputs.as_ref().is_some_and(|inputs| inputs.white_mask);
    let mask = said("mask").map(|mask| if white { mask.replace(":mask:", ":white:") } else { mask });
    let job = Job {
        model: named.model.id.clone(),
        mode,
        prompt: said("prompt").unwrap_or_default(),
        n: request["n"].as_u64().map_or(1, |n| u32::try_from(n).unwrap()),
        size: SizeAsk::parse(size.as_deref(), ratio.as_deref(), tier.as_deref()).unwrap(),
        resize: None,
        form: ResponseForm::B64Json,
        format: said("output_format").and_then(|name| Format::parse(&name)),
        compression: request["output_compression"].as_u64().map(|number| u8::try_from(number).unwrap()),
        user: None,
        stream: None,
        variation: false,
        seconds: request["seconds"].as_u64().map(|seconds| u32::try_from(seconds).unwrap()),
        audio: request["audio"].as_bool(),
        images,
        mask: inputs(&json!([mask])).pop(),
        extra: extra.collect(),
    };
    (Arc::clone(route), job)
}

/// Parameters that a job holds in fields of their own.
const TAKEN: [&str; 15] = [
    "model",
    "prompt",
    "n",
    "size",
    "aspect_ratio",
    "resolution",
    "output_format",
    "output_compression",
    "images",
    "mask",
    "response_format",
    "user",
    "mode",
    "seconds",
    "audio",
];

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Pictures and videos written as `{uri:png:64x64}`.
fn inputs(list: &Value) -> Vec<Input> {
    let specs = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    let read = |text: &str| {
        let spec = text.strip_prefix("{uri:").and_then(|rest| rest.strip_suffix('}')).unwrap();
        Input { mime: mime(spec), bytes: Bytes::from(file(spec)), size: None }
    };
    specs.map(read).collect()
}

/// A form's parts, files by their format and size: `{file:png:64x64}`.
fn form_of(call: &Call) -> Vec<(String, String)> {
    let Payload::Form(parts) = &call.payload else { panic!("not a form: {call:?}") };
    let show = |content: &Content| match content {
        Content::Text(text) => text.clone(),
        Content::File { bytes, .. } => {
            let facts = picture_facts(bytes);
            format!("{{file:{}:{}}}", facts.format, facts.size)
        }
    };
    parts.iter().map(|part| (part.name.clone(), show(&part.content))).collect()
}

/// A call survives storage, so that a job can go on after a restart.
fn assert_stored(call: &Call) {
    let text = serde_json::to_string(call).unwrap();
    assert_eq!(&serde_json::from_str::<Call>(&text).unwrap(), call);
    assert!(!text.to_lowercase().contains("authorization"), "a call holds no credential");
}

/// The same conversations end to end.
#[tokio::test]
async fn the_gateway_follows_every_conversation() {
    for fixture in Fixture::all() {
        follow(fixture).await;
    }
}

/// Caller, gateway, scripted provider, row.
async fn follow(fixture: Fixture) {
    let upstream = Scripted::start(&fixture.turns).await;
    if fixture.video().is_some() {
        return follow_video(&fixture, &upstream).await;
    }
    let kit = Kit::with(&pointed(fixture.provider(), &upstream.base)).await;
    let path = if fixture.request["images"].is_array() { "edits" } else { "generations" };
    let got = kit.post(&format!("/v1/images/{path}"), &fill(&fixture.request, &upstream.base)).await;
    let name = &fixture.name;
    assert_eq!(got.status, fixture.ends.status, "{name}: {}", got.json);
    if let Some(code) = &fixture.ends.code {
        assert_eq!(got.json["error"]["code"], code.as_str(), "{name}");
    }
    upstream.assert_spent(name);
    let rows = kit.get("/v1/requests?summary=true").await.json;
    assert_eq!(rows["summary"]["count"], 1, "{name}");
    let row = &rows["data"][0];
    if let Some(outputs) = fixture.ends.outputs.filter(|_| got.status == 200) {
        assert_eq!(got.json["data"].as_array().unwrap().len(), outputs, "{name}");
        assert_eq!(got.json["metadata"]["cost"], row["cost"], "{name}");
    }
    if let Some(cost) = fixture.ends.cost {
        assert_eq!(row["cost"], json!(cost), "{name}: {row}");
    }
    assert_eq!(row["cost_uncertain"], json!(fixture.ends.uncertain.unwrap_or(0.0)), "{name}: {row}");
    let seen = format!("{}{}", got.json, kit.get(&format!("/v1/requests/{}", row["id"].as_str().unwrap())).await.json);
    assert!(!seen.contains("test-key") && !seen.contains(KEY), "{name}: a secret shows");
    kit.running.stop().await;
}

/// A video's conversation through the driver, against the same scripted provider. The one place that changes when
/// videos are asked for at an endpoint of ours.
async fn follow_video(fixture: &Fixture, upstream: &Scripted) {
    let name = &fixture.name;
    let settings = pointed(fixture.provider(), &upstream.base);
    let environment = settings.into_iter().map(|(key, value)| (format!("LUMENFALL_{key}"), value)).collect();
    let config = Config::load(None, &environment).unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let outcome = film(&runner(&config, None), fixture.provider(), &brief(fixture), deadline).await;
    match outcome {
        Ok(files) => {
            assert_eq!(Some(files.len()), fixture.ends.outputs, "{name}");
            let sound = |file: &Bytes| file.get(4..8) == Some(b"ftyp");
            assert!(files.iter().all(sound), "{name}: what came is no MP4");
        }
        Err(fault) => assert_eq!(Some(fault.kind.as_str()), fixture.ends.fault.as_deref(), "{name}: {fault:?}"),
    }
    upstream.assert_spent(name);
}
