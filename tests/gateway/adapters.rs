//! Every fixture conversation, twice: through the adapter alone, and through the whole gateway.

use super::kit::{
    DEPLOYED, DEPLOYED_MODEL, Ends, Fixture, KEY, Kit, Scripted, file, fill, matches, mime, picture_facts, pointed,
};
use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use lumenfall::app;
use lumenfall::base::{Timestamp, Usd};
use lumenfall::catalog::{Catalog, Made, Route};
use lumenfall::fault::Fault;
use lumenfall::job::{Brief, Input, Job, Mode, Output, ResponseForm, Usage};
use lumenfall::media::{Format, Size, SizeAsk};
use lumenfall::outbound::{Call, Content, Payload, Reply};
use lumenfall::pipeline::brief_for;
use lumenfall::providers::{self, Adapter, Site, Turn};
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::time::{Instant, sleep};

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
const TAKEN: [&str; 16] = [
    "provider",
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

/// Conversations that are followed at once: most of their time is spent between two polls.
const AT_ONCE: usize = 4;

/// The same conversations end to end.
#[tokio::test]
async fn the_gateway_follows_every_conversation() {
    // Each says itself what went wrong with it; the others go on.
    let followed = stream::iter(Fixture::all()).map(|fixture| AssertUnwindSafe(follow(fixture)).catch_unwind());
    let outcomes: Vec<_> = followed.buffer_unordered(AT_ONCE).collect().await;
    let wrong = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(wrong, 0, "of {} conversations", outcomes.len());
}

/// Caller, gateway, scripted provider, row.
async fn follow(fixture: Fixture) {
    let name = &fixture.name;
    let upstream = Scripted::start(&fixture.turns).await;
    let home = tempfile::tempdir().unwrap();
    let mut settings = pointed(fixture.provider(), &upstream.base);
    if fixture.video().is_some() {
        std::fs::write(home.path().join(format!("{}.toml", fixture.provider())), swift(&fixture)).unwrap();
        settings.push(("CATALOG__DIRECTORY".to_owned(), home.path().display().to_string()));
    }
    let kit = Kit::with(&settings).await;
    let request = fill(&fixture.request, &upstream.base);
    let answer = match fixture.video() {
        Some(_) => film(&kit, &fixture, request).await,
        None => draw(&kit, &fixture, &request).await,
    };
    upstream.assert_spent(name);
    let rows = kit.get("/v1/requests?summary=true").await.json;
    assert_eq!(rows["summary"]["count"], 1, "{name}");
    let row = &rows["data"][0];
    assert_eq!(row["error_code"], json!(fixture.ends.code), "{name}: {row}");
    if fixture.ends.code.is_none() {
        assert_eq!(answer["metadata"]["cost"], row["cost"], "{name}");
    }
    if let Some(cost) = fixture.ends.cost {
        assert_eq!(row["cost"], json!(cost), "{name}: {row}");
    }
    assert_eq!(row["cost_uncertain"], json!(fixture.ends.uncertain.unwrap_or(0.0)), "{name}: {row}");
    let seen = format!("{answer}{}", kit.get(&format!("/v1/requests/{}", row["id"].as_str().unwrap())).await.json);
    assert!(!seen.contains("test-key") && !seen.contains(KEY), "{name}: a secret shows");
    kit.running.stop().await;
}

/// Asks for pictures and waits for them.
async fn draw(kit: &Kit, fixture: &Fixture, request: &Value) -> Value {
    let path = if request["images"].is_array() { "edits" } else { "generations" };
    let got = kit.post(&format!("/v1/images/{path}"), request).await;
    let (name, ends) = (&fixture.name, &fixture.ends);
    assert_eq!(got.status, ends.status, "{name}: {}", got.json);
    match &ends.code {
        Some(code) => assert_eq!(got.json["error"]["code"], code.as_str(), "{name}"),
        None => assert_eq!(got.json["data"].as_array().map(Vec::len), ends.outputs, "{name}"),
    }
    got.json
}

/// Asks for a video and asks after it until it is there, or never will be.
async fn film(kit: &Kit, fixture: &Fixture, mut request: Value) -> Value {
    let (name, ends) = (&fixture.name, &fixture.ends);
    let fields = request.as_object_mut().unwrap();
    // The inputs say what kind of video it is; only what goes on from one is asked for elsewhere.
    let door = if fields["mode"] == "video-extension" { "/v1/videos/extensions" } else { "/v1/videos" };
    fields.remove("mode");
    fields.remove("audio").map(|audio| fields.insert("generate_audio".to_owned(), audio));
    let taken = kit.post(door, &request).await;
    assert_eq!(taken.status, ends.status, "{name}: {}", taken.json);
    let path = format!("/v1/videos/{}", taken.json["id"].as_str().unwrap());
    let patience = Instant::now() + Duration::from_secs(30);
    let video = loop {
        let video = kit.get(&path).await.json;
        if video["status"] == "completed" || video["status"] == "failed" {
            break video;
        }
        assert!(Instant::now() < patience, "{name}: {video}");
        sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(video["error"]["code"], json!(ends.code), "{name}: {video}");
    if ends.code.is_none() {
        let links: Vec<&Value> = match video["outputs"].as_array() {
            Some(outputs) => outputs.iter().map(|output| &output["url"]).collect(),
            None => vec![&video["output"]["url"]],
        };
        assert_eq!(Some(links.len()), ends.outputs, "{name}: {video}");
        for link in links {
            let (file, mime) = kit.download(link.as_str().unwrap()).await;
            assert_eq!((file.get(4..8), mime.as_str()), (Some(b"ftyp".as_slice()), "video/mp4"), "{name}");
        }
    }
    video
}

/// A row over the route's own which says that it is fast: a job is first asked after when an eighth of its usual time is
/// over.
fn swift(fixture: &Fixture) -> String {
    let (route, _) = ask(fixture);
    format!("[[route]]\nmodel = {:?}\nupstream = {:?}\ntypical_seconds = 1\n", route.model, route.upstream)
}
