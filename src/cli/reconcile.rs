//! `lumenfall reconcile`: what a provider says it billed against what the log says was bought, call by call where the
//! provider tells calls apart and day by day where it does not.

use super::export::moment;
use super::invoice::{self, Line, Renamed};
use super::{Failure, providers_with, say};
use crate::base::{Timestamp, Usd};
use crate::config::Config;
use crate::providers::{self, Adapter};
use crate::store::{Filter, Record, Store};
use clap::Args;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::iter;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// The provider's id; an unknown one is answered with those that can be read.
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
    /// From this moment on; the beginning of the file's first day (UTC) when not given.
    #[arg(long, value_parser = moment)]
    from: Option<Timestamp>,
    /// Before this moment; the end of the file's last day (UTC) when not given.
    #[arg(long, value_parser = moment)]
    to: Option<Timestamp>,
    /// Compare what the sandbox drew instead of what was bought; its book is the bill then.
    #[arg(long)]
    sandbox: bool,
}

/// The time that is looked at.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: Timestamp,
    /// The first moment after it.
    to: Timestamp,
}

impl Span {
    fn holds(self, at: Timestamp) -> bool {
        (self.from..self.to).contains(&at)
    }

    fn wider(self, by: Duration) -> Self {
        Self { from: self.from.minus(by), to: self.to.plus(by) }
    }

    /// The same with the rest of its first and last day (UTC).
    fn whole_days(self) -> Self {
        let last = Timestamp::from_millis(self.to.millis().saturating_sub(1)).day();
        Self { from: start_of(self.from.day()), to: start_of(last.saturating_add(1)) }
    }
}

/// The first moment of a day, counted from 1970.
fn start_of(day: i64) -> Timestamp {
    Timestamp::from_millis(day.saturating_mul(86_400_000))
}

/// One call that the log says was bought, or may have been.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bought {
    request: String,
    /// The provider's id of the job; empty where it gave none.
    job: String,
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
    upstream_id: String,
    #[serde(default)]
    started_ms: u64,
    cost: Option<Usd>,
    cost_uncertain: Option<Usd>,
}

pub(super) async fn run(command: Reconcile, config: &Config) -> Result<(), Failure> {
    let layout = providers::find(&command.provider).and_then(Adapter::invoice);
    let known = || providers_with(|adapter| adapter.invoice().is_some());
    let layout = layout.ok_or_else(|| Failure::Said(format!("--provider should be one of {}", known())))?;
    let renamed = command.columns.clone().unwrap_or_default();
    let unreadable = |error| Failure::Said(format!("{}: {error}", command.file.display()));
    let file = File::open(&command.file).map_err(unreadable)?;
    let mut lines = invoice::read(layout, &renamed, file).map_err(Failure::Said)?;
    // Calls are billed a little after they were begun, so those at an edge are looked for on the other side of it. Days
    // are compared whole.
    let (span, apart) = match (span(&command, &lines)?, Duration::from_secs(command.minutes.saturating_mul(60))) {
        (span, _) if layout.daily => (span.whole_days(), Duration::ZERO),
        asked => asked,
    };
    let around = span.wider(apart);
    lines.retain(|line| around.holds(line.at));
    let store = Store::open(&config.database.without_journal()).await?;
    let provider = command.logged_as.as_deref().unwrap_or(&command.provider);
    let bought = read_log(&store, provider, around.wider(apart), command.sandbox).await;
    store.close().await;
    report(&command.provider, layout.daily, &lines, &bought?, span, apart)
}

/// What was asked for, else every day that the file has a line of: one that lacks its first call would hide it.
fn span(command: &Reconcile, lines: &[Line]) -> Result<Span, Failure> {
    let nothing = || Failure::Said("the file holds no amount; say --from and --to".to_owned());
    let days = || lines.iter().map(|line| line.at.day());
    let from = command.from.or_else(|| days().min().map(start_of)).ok_or_else(nothing)?;
    let last = || days().max().map(|day| start_of(day + 1));
    Ok(Span { from, to: command.to.or_else(last).ok_or_else(nothing)? })
}

async fn read_log(store: &Store, provider: &str, span: Span, sandbox: bool) -> Result<Vec<Bought>, Failure> {
    // A call begins after its request came in.
    let before = span.from.minus(Duration::from_hours(1));
    let filter = Filter {
        created_after: Some(before),
        created_before: Some(Timestamp::from_millis(span.to.millis().saturating_sub(1))),
        ..Filter::default()
    };
    let (mut bought, mut last) = (Vec::new(), None);
    while let Some(records) = store.next_requests(&filter, last.as_ref()).await? {
        last = records.last().map(|record| (record.created_at, record.id.clone()));
        let records = records.iter().filter(|record| record.sandbox == sandbox);
        let calls = records.flat_map(|record| calls(record, provider));
        bought.extend(calls.filter(|call| span.holds(call.at)));
    }
    Ok(bought)
}

/// The calls of a request to that provider which cost something. One that a crash cut off has no attempt, only a doubt.
fn calls(record: &Record, provider: &str) -> Vec<Bought> {
    let bought = |at, amount, uncertain, what: &str, job: String| Bought {
        request: record.id.clone(),
        job,
        at,
        amount,
        uncertain,
        what: what.to_owned(),
    };
    let attempts: Vec<Attempt> = serde_json::from_str(&record.attempts).unwrap_or_default();
    if attempts.is_empty() && record.cost_uncertain > Usd::ZERO {
        return vec![bought(record.created_at, record.cost_uncertain, true, &record.model, String::new())];
    }
    let of_provider = attempts.into_iter().filter(|attempt| attempt.provider == provider);
    let priced = of_provider.filter_map(|attempt| {
        let at = record.created_at.plus(Duration::from_millis(attempt.started_ms));
        let (amount, uncertain) = match (attempt.cost, attempt.cost_uncertain) {
            (Some(cost), _) => (cost, false),
            (None, doubt) => (doubt?, true),
        };
        (amount != Usd::ZERO).then(|| bought(at, amount, uncertain, &attempt.route, attempt.upstream_id))
    });
    priced.collect()
}

fn report(
    provider: &str,
    daily: bool,
    lines: &[Line],
    bought: &[Bought],
    span: Span,
    apart: Duration,
) -> Result<(), Failure> {
    let billed: Vec<Usd> = lines.iter().filter(|line| span.holds(line.at)).map(|line| line.amount).collect();
    let sure = bought.iter().filter(|call| !call.uncertain && span.holds(call.at));
    let logged: Vec<Usd> = sure.map(|call| call.amount).collect();
    let sum = |amounts: &[Usd]| amounts.iter().copied().sum::<Usd>();
    say(format!("{}: {} lines, {}", provider, billed.len(), sum(&billed)))?;
    say(format!("the log: {} calls, {}", logged.len(), sum(&logged)))?;
    let differences = if daily { compare_days(lines, bought)? } else { compare_calls(lines, bought, span, apart)? };
    match differences {
        0 => say("Both sides agree."),
        1 => Err(Failure::Said("the two sides differ in 1 place".to_owned())),
        more => Err(Failure::Said(format!("the two sides differ in {more} places"))),
    }
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
            let day = start_of(day).rfc3339();
            say(format!("{}: billed {billed}, logged {logged}, possibly besides {doubt}", &day[..10]))?;
        }
    }
    Ok(differences)
}

/// Call by call. What lies outside the span is there to be found, not to be missed.
fn compare_calls(lines: &[Line], bought: &[Bought], span: Span, apart: Duration) -> Result<usize, Failure> {
    let named = same_job(lines, bought);
    let matched = matches(lines, bought, &named, apart);
    let cleared =
        matched.iter().filter(|(line, call)| bought[**call].uncertain && span.holds(lines[**line].at)).count();
    if cleared > 0 {
        say(format!("{cleared} calls of which the log was not sure were billed."))?;
    }
    let found: BTreeSet<usize> = matched.values().copied().collect();
    let mut unlogged: BTreeMap<usize, &Line> =
        lines.iter().enumerate().filter(|(number, _)| !matched.contains_key(number)).collect();
    let mut unbilled: BTreeMap<usize, &Bought> =
        bought.iter().enumerate().filter(|(number, call)| !found.contains(number) && !call.uncertain).collect();
    let mut repriced = Vec::new();
    for (line, call) in named.iter().filter(|(line, _)| !matched.contains_key(line)) {
        unlogged.remove(line);
        unbilled.remove(call);
        repriced.push((&lines[*line], &bought[*call]));
    }
    for (line, call) in same_model(&unlogged, &unbilled, apart) {
        repriced.extend(unlogged.remove(&line).zip(unbilled.remove(&call)));
    }
    repriced.retain(|(line, call)| span.holds(line.at) || span.holds(call.at));
    unlogged.retain(|_, line| span.holds(line.at));
    unbilled.retain(|_, call| span.holds(call.at));
    if !unlogged.is_empty() {
        say("\nBilled, and not in the log:")?;
        unlogged.values().try_for_each(|line| say(format!("  {line}")))?;
    }
    if !unbilled.is_empty() {
        say("\nIn the log, and not billed:")?;
        unbilled.values().try_for_each(|call| say(format!("  {call}")))?;
    }
    if !repriced.is_empty() {
        say("\nBilled at another price than logged:")?;
        repriced.iter().try_for_each(|(line, call)| say(format!("  {line}\n    the log: {call}")))?;
    }
    Ok(unlogged.len() + unbilled.len() + repriced.len())
}

/// Lines and calls that name the same job, both by their numbers.
fn same_job(lines: &[Line], bought: &[Bought]) -> BTreeMap<usize, usize> {
    let calls = bought.iter().enumerate().filter(|(_, call)| !call.job.is_empty());
    let mut calls: BTreeMap<&str, usize> = calls.map(|(number, call)| (call.job.as_str(), number)).collect();
    let named = lines.iter().enumerate().filter_map(|(number, line)| Some((number, calls.remove(line.id.as_str())?)));
    named.collect()
}

/// Which line is which call, both by their numbers: of the same amount, and either of the same job or within the bounds;
/// sure calls before doubtful ones. Whoever is named on both sides is nobody else.
fn matches(
    lines: &[Line],
    bought: &[Bought],
    named: &BTreeMap<usize, usize>,
    apart: Duration,
) -> BTreeMap<usize, usize> {
    let taken: BTreeSet<usize> = named.values().copied().collect();
    let agreed = named.iter().filter(|(line, call)| lines[**line].amount == bought[**call].amount);
    let mut matched: BTreeMap<usize, usize> = agreed.map(|(line, call)| (*line, *call)).collect();
    for uncertain in [false, true] {
        let free = |number: &usize| !matched.contains_key(number) && !named.contains_key(number);
        let waiting = lines.iter().enumerate().filter(|(number, _)| free(number));
        let waiting = waiting.map(|(number, line)| (line.amount.micros(), line.at, number)).collect();
        let calls = bought.iter().enumerate();
        let calls = calls.filter(|(number, call)| call.uncertain == uncertain && !taken.contains(number));
        let calls: Vec<_> = calls.map(|(number, call)| (call.amount.micros(), call.at, number)).collect();
        matched.extend(pairs(waiting, &calls, apart));
    }
    matched
}

/// Lines and calls that found nobody of their amount, but are of the same model, as far as the file names it.
fn same_model(
    lines: &BTreeMap<usize, &Line>,
    calls: &BTreeMap<usize, &Bought>,
    apart: Duration,
) -> BTreeMap<usize, usize> {
    let named = lines.iter().filter(|(_, line)| !line.what.is_empty());
    let named = named.map(|(number, line)| (line.what.as_str(), line.at, *number)).collect();
    // A route is the provider's name and what the provider calls the model.
    let calls = calls.iter().filter_map(|(number, call)| Some((call.what.split_once('/')?.1, call.at, *number)));
    let calls: Vec<_> = calls.collect();
    pairs(named, &calls, apart)
}

/// One entry of a side: what has to be equal on both, when it was, its number.
type Entry<K> = (K, Timestamp, usize);

/// Pairs of a line and a call, no more than `apart` in time: as many as there can be, and of those the near ones, so that
/// the one that is missing on a side is told and not another of its price.
fn pairs<K: Ord + Copy>(mut lines: Vec<Entry<K>>, calls: &[Entry<K>], apart: Duration) -> BTreeMap<usize, usize> {
    lines.sort_by_key(|(_, at, _)| *at);
    let apart = i64::try_from(apart.as_millis()).unwrap_or(i64::MAX);
    let growing = iter::successors(Some(1_i64), |width| width.checked_mul(2)).take_while(|width| *width < apart);
    let (near, most) = (pairs_within(&lines, calls, growing.chain([apart])), pairs_within(&lines, calls, [apart]));
    if near.len() < most.len() { most } else { near }
}

/// Tries these widths, in milliseconds, one after the other.
fn pairs_within<K: Ord + Copy>(
    lines: &[Entry<K>],
    calls: &[Entry<K>],
    widths: impl IntoIterator<Item = i64>,
) -> BTreeMap<usize, usize> {
    let mut free: BTreeMap<K, BTreeSet<(i64, usize)>> = BTreeMap::new();
    for (key, at, number) in calls {
        free.entry(*key).or_default().insert((at.millis(), *number));
    }
    let mut paired = BTreeMap::new();
    for width in widths {
        for (key, at, number) in lines {
            let Some(calls) = free.get_mut(key).filter(|_| !paired.contains_key(number)) else { continue };
            let (from, to) = (at.millis().saturating_sub(width), at.millis().saturating_add(width));
            // Both sides in the order of time: the earliest that is near enough leaves the later ones to later lines.
            let near = calls.range((from, 0)..=(to, usize::MAX)).next().copied();
            if let Some(call) = near {
                calls.remove(&call);
                paired.insert(*number, call.1);
            }
        }
    }
    paired
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
        Bought {
            request: "req".into(),
            job: String::new(),
            at,
            amount: Usd::from_micros(micros),
            uncertain,
            what: String::new(),
        }
    }

    #[test]
    fn whoever_names_the_same_job_is_the_same() {
        let of = |job: &str, call: Bought| Bought { job: job.into(), ..call };
        let on = |id: &str, line: Line| Line { id: id.into(), ..line };
        let lines =
            [on("b", line(2, 0, 40)), on("a", line(3, 500, 40)), on("c", line(4, 0, 50)), on("?", line(5, 0, 70))];
        let bought =
            [of("a", call(0, 40, false)), of("b", call(0, 40, false)), of("c", call(0, 49, true)), call(1, 70, false)];
        let named = same_job(&lines, &bought);
        assert_eq!(named, BTreeMap::from([(0, 1), (1, 0), (2, 2)]));
        let matched = matches(&lines, &bought, &named, Duration::from_mins(15));
        assert_eq!(matched, BTreeMap::from([(0, 1), (1, 0), (3, 3)]));
        let span = Span { from: Timestamp::from_millis(0), to: Timestamp::from_millis(60_000_000) };
        assert_eq!(compare_calls(&lines, &bought, span, Duration::from_mins(15)).unwrap(), 1, "another price");
    }

    #[test]
    fn lines_find_their_calls() {
        let lines = [line(2, 10, 40), line(3, 11, 40), line(4, 12, 99), line(5, 500, 40), line(6, 30, 70)];
        let bought = [call(11, 40, false), call(10, 40, false), call(300, 40, false), call(31, 70, true)];
        let matched = matches(&lines, &bought, &BTreeMap::new(), Duration::from_mins(15));
        assert_eq!(matched, BTreeMap::from([(0, 1), (1, 0), (4, 3)]));
    }

    #[test]
    fn the_call_that_nobody_billed_is_named() {
        // One price all day, a call a minute, billed a second after; the invoice lacks the first.
        let bought: Vec<_> = (0..60).map(|minute| call(minute, 40, false)).collect();
        let lines: Vec<_> = (1..60)
            .map(|minute| Line { at: call(minute, 0, false).at.plus(Duration::from_secs(1)), ..line(0, 0, 40) })
            .collect();
        let matched = matches(&lines, &bought, &BTreeMap::new(), Duration::from_mins(15));
        assert_eq!(matched, (0..59).map(|number| (number, number + 1)).collect());
        // Billed at their end, fourteen minutes after they were begun: nearness misleads, and everyone finds a partner.
        let lines = [line(2, 14, 40), line(3, 28, 40)];
        let bought = [call(0, 40, false), call(13, 40, false)];
        assert_eq!(
            matches(&lines, &bought, &BTreeMap::new(), Duration::from_mins(15)),
            BTreeMap::from([(0, 0), (1, 1)])
        );
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
