//! `lumenfall reconcile`: what a provider says it billed against what the log says was bought, call by call where the
//! provider tells calls apart and day by day where it does not.

use super::export::moment;
use super::invoice::{self, LAYOUTS, Layout, Line, Renamed};
use super::{Failure, say};
use crate::base::{Timestamp, Usd};
use crate::config::Config;
use crate::store::{Filter, Record, Store};
use clap::Args;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// openai, fal, replicate, bfl or runware.
    #[arg(long)]
    provider: String,
    /// The provider's usage export, CSV with a header line.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Other names of columns: time=…,amount=…,what=…,id=….
    #[arg(long, value_parser = Renamed::parse)]
    columns: Option<Renamed>,
    /// The provider's id in the log, when it is a deployment of your own.
    #[arg(long)]
    logged_as: Option<String>,
    /// Minutes that the two sides may be apart about the time of a call.
    #[arg(long, default_value_t = 15)]
    minutes: u64,
    /// From this moment on; the file's first when not given.
    #[arg(long, value_parser = moment)]
    from: Option<Timestamp>,
    /// Before this moment; the end of the file's last day when not given.
    #[arg(long, value_parser = moment)]
    to: Option<Timestamp>,
}

/// One call that the log says was bought, or may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bought {
    request: String,
    at: Timestamp,
    amount: Usd,
    /// Whether nobody knew if it was billed.
    uncertain: bool,
    what: String,
}

impl fmt::Display for Bought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}  {}  {}", self.request, self.at.rfc3339(), self.amount, self.what)
    }
}

/// What the log keeps of an attempt, as far as it matters here.
#[derive(Deserialize)]
struct Attempt {
    provider: String,
    route: String,
    #[serde(default)]
    started_ms: u64,
    cost: Option<Usd>,
    cost_uncertain: Option<Usd>,
}

pub(super) async fn run(command: Reconcile, config: &Config) -> Result<(), Failure> {
    let known = || LAYOUTS.iter().map(|layout| layout.provider).collect::<Vec<_>>().join(", ");
    let layout = LAYOUTS.iter().find(|layout| layout.provider == command.provider);
    let layout = layout.ok_or_else(|| Failure::Said(format!("--provider should be one of {}", known())))?;
    let renamed = command.columns.clone().unwrap_or_default();
    let mut lines = invoice::read(layout, &renamed, File::open(&command.file)?).map_err(Failure::Said)?;
    let span = span(&command, &lines)?;
    lines.retain(|line| (span.0..span.1).contains(&line.at));
    let store = Store::open(&config.database.without_journal()).await?;
    let bought = read_log(&store, command.logged_as.as_deref().unwrap_or(layout.provider), span).await;
    store.close().await;
    report(layout, &lines, &bought?, Duration::from_secs(command.minutes * 60))
}

/// The time that is looked at.
fn span(command: &Reconcile, lines: &[Line]) -> Result<(Timestamp, Timestamp), Failure> {
    let nothing = || Failure::Said("the file holds no amount; say --from and --to".to_owned());
    let from = command.from.or_else(|| lines.iter().map(|line| line.at).min()).ok_or_else(nothing)?;
    let last = || lines.iter().map(|line| Timestamp::from_millis((line.at.day() + 1) * 86_400_000)).max();
    Ok((from, command.to.or_else(last).ok_or_else(nothing)?))
}

async fn read_log(store: &Store, provider: &str, span: (Timestamp, Timestamp)) -> Result<Vec<Bought>, Failure> {
    // A call begins after its request came in.
    let before = span.0.minus(Duration::from_hours(1));
    let filter = Filter {
        created_after: Some(before),
        created_before: Some(Timestamp::from_millis(span.1.millis() - 1)),
        ..Filter::default()
    };
    let (mut bought, mut last) = (Vec::new(), None);
    while let Some(records) = store.next_requests(&filter, last.as_ref()).await? {
        last = records.last().map(|record| (record.created_at, record.id.clone()));
        let calls = records.iter().flat_map(|record| calls(record, provider));
        bought.extend(calls.filter(|call| (span.0..span.1).contains(&call.at)));
    }
    Ok(bought)
}

/// The calls of a request to that provider which cost something. One that a crash cut off has no attempt, only a doubt.
fn calls(record: &Record, provider: &str) -> Vec<Bought> {
    let bought = |at, amount, uncertain, what: &str| Bought {
        request: record.id.clone(),
        at,
        amount,
        uncertain,
        what: what.to_owned(),
    };
    let attempts: Vec<Attempt> = serde_json::from_str(&record.attempts).unwrap_or_default();
    if attempts.is_empty() && record.cost_uncertain > Usd::ZERO {
        return vec![bought(record.created_at, record.cost_uncertain, true, &record.model)];
    }
    let of_provider = attempts.iter().filter(|attempt| attempt.provider == provider);
    let priced = of_provider.filter_map(|attempt| {
        let at = record.created_at.plus(Duration::from_millis(attempt.started_ms));
        let (amount, uncertain) = match (attempt.cost, attempt.cost_uncertain) {
            (Some(cost), _) => (cost, false),
            (None, doubt) => (doubt?, true),
        };
        (amount != Usd::ZERO).then(|| bought(at, amount, uncertain, &attempt.route))
    });
    priced.collect()
}

fn report(layout: &Layout, lines: &[Line], bought: &[Bought], apart: Duration) -> Result<(), Failure> {
    let billed: Usd = lines.iter().map(|line| line.amount).sum();
    let logged: Usd = bought.iter().filter(|call| !call.uncertain).map(|call| call.amount).sum();
    say(format!("{}: {} lines, {billed}", layout.provider, lines.len()))?;
    say(format!("the log: {} calls, {logged}", bought.iter().filter(|call| !call.uncertain).count()))?;
    let differences = if layout.daily { compare_days(lines, bought)? } else { compare_calls(lines, bought, apart)? };
    if differences == 0 {
        return say("Both sides agree.");
    }
    Err(Failure::Said(format!("the two sides differ in {differences} places")))
}

/// Day by day: what differs by more than the rounding of the provider's own sums.
fn compare_days(lines: &[Line], bought: &[Bought]) -> Result<usize, Failure> {
    let mut days: BTreeMap<i64, (Usd, Usd, Usd)> = BTreeMap::new();
    for line in lines {
        days.entry(line.at.day()).or_default().0 += line.amount;
    }
    for call in bought {
        let day = days.entry(call.at.day()).or_default();
        if call.uncertain {
            day.2 += call.amount;
        } else {
            day.1 += call.amount;
        }
    }
    let mut differences = 0;
    for (day, (billed, logged, doubt)) in days {
        let over = billed.micros() - logged.micros();
        // Half a cent is how exactly daily sums are told; a doubt may have been billed or not.
        if over < -5_000 || over > doubt.micros() + 5_000 {
            differences += 1;
            let day = Timestamp::from_millis(day * 86_400_000).rfc3339();
            say(format!("{}: billed {billed}, logged {logged}, possibly besides {doubt}", &day[..10]))?;
        }
    }
    Ok(differences)
}

fn compare_calls(lines: &[Line], bought: &[Bought], apart: Duration) -> Result<usize, Failure> {
    let matched = matches(lines, bought, apart);
    let cleared = matched.values().filter(|call| bought[**call].uncertain).count();
    if cleared > 0 {
        say(format!("{cleared} calls of which the log was not sure were billed."))?;
    }
    let found: BTreeSet<usize> = matched.values().copied().collect();
    let unlogged: Vec<&Line> =
        lines.iter().enumerate().filter(|(number, _)| !matched.contains_key(number)).map(|(_, line)| line).collect();
    let unbilled: Vec<&Bought> = bought
        .iter()
        .enumerate()
        .filter(|(number, call)| !found.contains(number) && !call.uncertain)
        .map(|(_, call)| call)
        .collect();
    if !unlogged.is_empty() {
        say("\nBilled, and not in the log:")?;
        unlogged.iter().try_for_each(|line| say(format!("  {line}")))?;
    }
    if !unbilled.is_empty() {
        say("\nIn the log, and not billed:")?;
        unbilled.iter().try_for_each(|call| say(format!("  {call}")))?;
    }
    Ok(unlogged.len() + unbilled.len())
}

/// Which line is which call: of the same amount, the nearest in time within the bounds; sure calls before doubtful ones.
fn matches(lines: &[Line], bought: &[Bought], apart: Duration) -> BTreeMap<usize, usize> {
    let apart = i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
    let mut free: BTreeMap<(bool, i64), BTreeSet<(i64, usize)>> = BTreeMap::new();
    for (number, call) in bought.iter().enumerate() {
        free.entry((call.uncertain, call.amount.micros())).or_default().insert((call.at.millis(), number));
    }
    let mut order: Vec<usize> = (0..lines.len()).collect();
    order.sort_by_key(|number| lines[*number].at);
    let mut matched = BTreeMap::new();
    for uncertain in [false, true] {
        for number in &order {
            let line = &lines[*number];
            let Some(calls) = free.get_mut(&(uncertain, line.amount.micros())) else { continue };
            if matched.contains_key(number) {
                continue;
            }
            let at = line.at.millis();
            // Both sides in the order of time: the earliest that is near enough leaves the later ones to later lines.
            let near = calls.range((at.saturating_sub(apart), 0)..=(at.saturating_add(apart), usize::MAX)).next();
            if let Some(call) = near.copied() {
                calls.remove(&call);
                matched.insert(*number, call.1);
            }
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, minute: i64, micros: i64) -> Line {
        let at = Timestamp::from_millis(minute * 60_000);
        Line { number, at, amount: Usd::from_micros(micros), what: String::new(), id: String::new() }
    }

    fn call(minute: i64, micros: i64, uncertain: bool) -> Bought {
        let at = Timestamp::from_millis(minute * 60_000);
        Bought { request: "req".into(), at, amount: Usd::from_micros(micros), uncertain, what: String::new() }
    }

    #[test]
    fn lines_find_their_calls() {
        let lines = [line(2, 10, 40), line(3, 11, 40), line(4, 12, 99), line(5, 500, 40), line(6, 30, 70)];
        let bought = [call(11, 40, false), call(10, 40, false), call(300, 40, false), call(31, 70, true)];
        let matched = matches(&lines, &bought, Duration::from_mins(15));
        assert_eq!(matched, BTreeMap::from([(0, 1), (1, 0), (4, 3)]));
    }

    #[test]
    fn a_doubt_may_be_billed_or_not() {
        let day = |lines: &[Line], bought: &[Bought]| compare_days(lines, bought).unwrap();
        assert_eq!(day(&[line(2, 0, 100_000)], &[call(5, 100_000, false)]), 0);
        assert_eq!(day(&[line(2, 0, 140_000)], &[call(5, 100_000, false), call(6, 40_000, true)]), 0);
        assert_eq!(day(&[line(2, 0, 180_000)], &[call(5, 100_000, false), call(6, 40_000, true)]), 1);
        assert_eq!(day(&[line(2, 0, 50_000)], &[call(5, 100_000, false)]), 1);
    }
}
