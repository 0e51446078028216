//! `lumenfall reconcile` as an operator runs it: a log that the gateway wrote, an invoice out of the simulators' book.

use super::kit::Kit;
use super::program::Shell;
use lumenfall::base::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A call that a simulator billed.
#[derive(Debug, Clone)]
struct Billed {
    at: Timestamp,
    amount: Decimal,
    model: String,
    job: String,
}

/// What a provider billed, in the order of time.
async fn billed(kit: &Kit, provider: &str) -> Vec<Billed> {
    let calls = kit.bills().await["calls"].clone();
    let of = |call: &Value| Billed {
        at: Timestamp::from_millis(call["at_ms"].as_i64().unwrap()),
        amount: call["billed_usd"].as_str().unwrap().parse().unwrap(),
        model: call["model"].as_str().unwrap_or_default().to_owned(),
        job: call["job"].as_str().unwrap_or_default().to_owned(),
    };
    let own = calls.as_array().unwrap().iter().filter(|call| call["provider"] == provider);
    own.map(of).filter(|call| !call.amount.is_zero()).collect()
}

/// A gateway whose log another program reads.
struct Office {
    shell: Shell,
    url: String,
    kit: Kit,
}

impl Office {
    async fn open() -> Self {
        let shell = Shell::new();
        let url = format!("sqlite://{}/books.db", shell.path().display());
        let kit = Kit::with(&[("DATABASE__URL", url.as_str())]).await;
        Self { shell, url, kit }
    }

    /// The id of the request that bought a picture.
    async fn buy(&self, ask: Value) -> String {
        let got = self.kit.generate(ask).await;
        assert_eq!(got.status, 200, "{}", got.json);
        got.json["id"].as_str().unwrap().to_owned()
    }

    /// What the command prints about that invoice of the simulators, what it complains of, and its exit code.
    fn reconcile(&self, provider: &str, invoice: &str, more: &[&str]) -> (String, String, i32) {
        self.compare(provider, invoice, &[&["--sandbox"], more].concat())
    }

    fn compare(&self, provider: &str, invoice: &str, more: &[&str]) -> (String, String, i32) {
        std::fs::write(self.shell.path().join("invoice.csv"), invoice).unwrap();
        let arguments = [&["reconcile", "--provider", provider, "--file", "invoice.csv"], more].concat();
        let environment = [("LUMENFALL_DATABASE__URL", self.url.as_str())];
        let output = self.shell.command(&arguments, &environment).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr), output.status.code().unwrap())
    }
}

/// As fal's usage export: a line for each call.
fn fal_invoice(calls: &[Billed]) -> String {
    let line = |call: &Billed| {
        format!("{},{},{},1,{}\n", call.job, call.at.rfc3339().replace('T', " "), call.model, call.amount)
    };
    let lines: String = calls.iter().map(line).collect();
    format!("request_id,timestamp,endpoint_id,units,cost\n{lines}")
}

/// As OpenAI's costs: a line for each day and kind of thing.
fn openai_invoice(sums: &BTreeMap<(String, String), Decimal>) -> String {
    let line = |((day, item), sum): (&(String, String), &Decimal)| format!("{day},{sum},usd,\"{item}, image\"\n");
    let lines: String = sums.iter().map(line).collect();
    format!("start_time_iso,amount_value,amount_currency,line_item\n{lines}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_by_the_call_is_held_against_the_log() {
    let office = Office::open().await;
    let mut requests = Vec::new();
    for size in ["1024x1024", "512x512", "1024x1024", "1024x1024"] {
        let ask = json!({"model": "fal/flux.1-dev", "prompt": "a fox", "size": size});
        requests.push(office.buy(ask).await);
    }
    // Neither somebody else's picture nor a refused one is on fal's invoice.
    office.buy(json!({"model": "openai/gpt-image-2", "prompt": "a fox", "quality": "low"})).await;
    let refused = office.kit.generate(json!({"model": "fal/flux.1-dev", "prompt": "a fox", "size": "9x9x9"})).await;
    assert_eq!(refused.status, 400);
    let calls = billed(&office.kit, "fal").await;
    assert_eq!(calls.len(), 4, "{calls:?}");
    let sum = |calls: &[Billed]| format!("${:.6}", calls.iter().map(|call| call.amount).sum::<Decimal>());
    let heads =
        |lines: &[Billed]| format!("fal: {} lines, {}\nthe log: 4 calls, {}\n", lines.len(), sum(lines), sum(&calls));

    let (told, complaint, code) = office.reconcile("fal", &fal_invoice(&calls), &[]);
    assert_eq!((told, complaint.as_str(), code), (format!("{}Both sides agree.\n", heads(&calls)), "", 0));

    let one_place = "lumenfall: the two sides differ in 1 place\n";
    for (missing, request) in requests.iter().enumerate() {
        let mut short = calls.clone();
        short.remove(missing);
        let (told, complaint, code) = office.reconcile("fal", &fal_invoice(&short), &[]);
        assert_eq!((complaint.as_str(), code), (one_place, 1), "{told}");
        let rest = told.strip_prefix(&heads(&short)).unwrap();
        assert!(
            rest.starts_with("\nIn the log, and not billed:\n  req_") && rest.trim().lines().count() == 2,
            "{told}"
        );
        assert!(rest.contains(request) && rest.contains("fal/fal-ai/flux/dev"), "{missing}: {told}");
    }

    let mut long = calls.clone();
    long.push(Billed { job: "nobodys-call".into(), at: calls[1].at, ..calls[0].clone() });
    let (told, complaint, code) = office.reconcile("fal", &fal_invoice(&long), &[]);
    assert_eq!((complaint.as_str(), code), (one_place, 1), "{told}");
    let rest = told.strip_prefix(&heads(&long)).unwrap();
    assert!(rest.starts_with("\nBilled, and not in the log:\n  line ") && rest.trim().lines().count() == 2, "{told}");

    let mut dear = calls.clone();
    dear[1].amount += Decimal::new(1, 6);
    let (told, complaint, code) = office.reconcile("fal", &fal_invoice(&dear), &[]);
    assert_eq!((complaint.as_str(), code), (one_place, 1), "{told}");
    let rest = told.strip_prefix(&heads(&dear)).unwrap();
    assert!(rest.starts_with("\nBilled at another price than logged:\n  line 3 "), "{told}");
    assert!(rest.contains(&dear[1].job) && rest.contains(&requests[1]) && rest.trim().lines().count() == 3, "{told}");

    // What was drawn was not bought.
    let (told, _, code) = office.compare("fal", &fal_invoice(&calls), &[]);
    assert!(told.contains("the log: 0 calls, $0.000000\n") && code == 1, "{told}");
    // A part of the time: the edges belong to both sides.
    let (from, to) = (calls[1].at.rfc3339(), calls[3].at.rfc3339());
    let (told, complaint, code) = office.reconcile("fal", &fal_invoice(&calls), &["--from", &from, "--to", &to]);
    assert!(told.starts_with("fal: 2 lines") && told.ends_with("Both sides agree.\n"), "{told}");
    assert_eq!((complaint.as_str(), code), ("", 0));
    // Clocks that are hours apart, and nothing but the time to tell calls apart by.
    let at = |call: &Billed| Timestamp::from_millis(call.at.millis() + 7_200_000);
    let hours = |call: &Billed| Billed { at: at(call), job: String::new(), ..call.clone() };
    let late: Vec<Billed> = calls.iter().map(hours).collect();
    let day = Timestamp::from_millis(calls[0].at.day() * 86_400_000).rfc3339();
    let whole = ["--from", &day, "--to", "2099-01-01"];
    let (told, complaint, code) = office.reconcile("fal", &fal_invoice(&late), &whole);
    assert_eq!((complaint.as_str(), code), ("lumenfall: the two sides differ in 8 places\n", 1), "{told}");
    let (told, _, code) = office.reconcile("fal", &fal_invoice(&late), &[&whole[..], &["--minutes", "121"]].concat());
    assert_eq!(code, 0, "{told}");
    office.kit.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_by_the_day_is_held_against_the_log() {
    let office = Office::open().await;
    for model in ["gpt-image-2", "gpt-image-2", "gpt-image-2.5-flare"] {
        office.buy(json!({"model": format!("openai/{model}"), "prompt": "a fox", "quality": "high"})).await;
    }
    office.buy(json!({"model": "fal/flux.1-dev", "prompt": "a fox"})).await;
    let mut sums: BTreeMap<(String, String), Decimal> = BTreeMap::new();
    let calls = billed(&office.kit, "openai").await;
    assert_eq!(calls.len(), 3, "{calls:?}");
    for call in &calls {
        let day = format!("{}T00:00:00Z", &call.at.rfc3339()[..10]);
        *sums.entry((day, call.model.clone())).or_default() += call.amount;
    }
    let total: Decimal = sums.values().sum();
    let logged = format!("the log: 3 calls, ${total:.6}\n");
    let (told, complaint, code) = office.reconcile("openai", &openai_invoice(&sums), &[]);
    let expected = format!("openai: {} lines, ${total:.6}\n{logged}Both sides agree.\n", sums.len());
    assert_eq!((told, complaint.as_str(), code), (expected, "", 0));
    // The provider rounds its sums.
    let rounded: BTreeMap<_, _> = sums.iter().map(|(item, sum)| (item.clone(), sum.round_dp(3))).collect();
    let (told, _, code) = office.reconcile("openai", &openai_invoice(&rounded), &[]);
    assert_eq!(code, 0, "{told}");

    let (first, sum) = sums.first_key_value().map(|(item, sum)| (item.clone(), *sum)).unwrap();
    let mut short = sums.clone();
    short.remove(&first);
    let mut long = sums.clone();
    long.insert((first.0.clone(), "gpt-image-1".to_owned()), Decimal::ONE);
    let mut dear = sums.clone();
    dear.insert(first.clone(), sum + Decimal::new(6, 3));
    for invoice in [short, long, dear] {
        let billed: Decimal = invoice.values().sum();
        let (told, complaint, code) = office.reconcile("openai", &openai_invoice(&invoice), &[]);
        assert_eq!((complaint.as_str(), code), ("lumenfall: the two sides differ in 1 place\n", 1), "{told}");
        let day = &first.0[..10];
        let line = format!("{day}: billed ${billed:.6}, logged ${total:.6}, possibly besides $0.000000\n");
        assert_eq!(told, format!("openai: {} lines, ${billed:.6}\n{logged}{line}", invoice.len()));
    }
    // Whole days, whatever part of one is asked for.
    let noon = format!("{}T12:00:00Z", &first.0[..10]);
    assert_eq!(office.reconcile("openai", &openai_invoice(&sums), &["--from", &noon]).2, 0);
    office.kit.running.stop().await;
}

#[test]
fn what_cannot_be_reconciled_says_why() {
    let shell = Shell::new();
    std::fs::write(shell.path().join("empty.csv"), "timestamp,cost\n").unwrap();
    for (arguments, expected) in [
        (["--provider", "nobody", "--file", "empty.csv"], "--provider should be one of bfl, fal"),
        (["--provider", "fal", "--file", "nowhere.csv"], "nowhere.csv"),
        (["--provider", "fal", "--file", "empty.csv"], "say --from and --to"),
        (["--provider", "runware", "--file", "empty.csv"], "--columns time="),
    ] {
        let output = shell.command(&[&["reconcile"], &arguments[..]].concat(), &[]).output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains(expected), "{complaint}");
    }
}
