//! A request comes to the same whether its caller waits for the answer, watches it as a stream, or has it made in the
//! background. The table of scenarios is played in all three ways; each has to end as the table says, and the three have to
//! agree in everything that a user or an operator sees of it.

mod observe;
mod scenarios;
mod upstream;

use crate::postgres;
use futures::stream::{self, StreamExt};
use observe::{End, Observed, observe_all};
use scenarios::Scenario;

/// Scenarios played at the same time.
const AT_ONCE: usize = 4;
/// Set to a part of their names, this variable chooses scenarios.
const CHOICE: &str = "LUMENFALL_PARITY";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_asking_comes_to_the_same_on_sqlite() {
    play_all(|| None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_asking_comes_to_the_same_on_postgres() {
    play_all(|| Some(postgres::database())).await;
}

async fn play_all(database: fn() -> Option<String>) {
    let choice = std::env::var(CHOICE).unwrap_or_default();
    let chosen: Vec<Scenario> = scenarios::all().into_iter().filter(|one| one.name.contains(&choice)).collect();
    assert!(!chosen.is_empty(), "no scenario is called '{choice}'");
    let count = chosen.len();
    let played = stream::iter(chosen).map(|scenario| play(scenario, database)).buffered(AT_ONCE);
    let wrong: Vec<String> = played.filter_map(|wrong| async { wrong }).collect().await;
    assert!(
        wrong.is_empty(),
        "{} of {count} scenarios go wrong (- expected, + seen):\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// Plays a scenario in every way. What goes wrong, as text.
async fn play(scenario: Scenario, database: fn() -> Option<String>) -> Option<String> {
    let seen = observe_all(&scenario, database().as_deref()).await;
    let waiting = &seen[0].1;
    let wrong = seen.iter().flat_map(|(way, seen)| {
        let from_table = if scenario.pinned { against_table(&scenario, seen) } else { Vec::new() };
        // Whatever differs from the table differs from a request that waits as well, unless both go wrong.
        let wrong = if from_table.is_empty() { against_waiting(waiting, seen) } else { from_table };
        wrong.into_iter().map(move |line| format!("  {way:?}: {line}"))
    });
    let wrong: Vec<String> = wrong.collect();
    (!wrong.is_empty()).then(|| format!("{}\n{}", scenario.name, wrong.join("\n")))
}

fn against_table(scenario: &Scenario, seen: &Observed) -> Vec<String> {
    assert_eq!(scenario.ends.len(), seen.ends.len(), "{}: the table has an end for each request", scenario.name);
    let ends = scenario.ends.iter().zip(&seen.ends).map(|(expected, end)| differences(expected, &end.lines));
    let wrong = differences(&scenario.calls, &seen.calls);
    numbered(ends).chain(wrong.into_iter().map(|line| format!("calls {line}"))).collect()
}

fn against_waiting(waiting: &Observed, seen: &Observed) -> Vec<String> {
    let whole = |end: &End| [end.lines.as_slice(), &end.details].concat();
    let ends = waiting.ends.iter().zip(&seen.ends).map(|(waiting, end)| differences(&whole(waiting), &whole(end)));
    let wrong = differences(&waiting.calls, &seen.calls);
    numbered(ends).chain(wrong.into_iter().map(|line| format!("calls {line}"))).collect()
}

fn numbered(ends: impl Iterator<Item = Vec<String>>) -> impl Iterator<Item = String> {
    let name = |(index, lines): (usize, Vec<String>)| {
        lines.into_iter().map(move |line| format!("request {} {line}", index + 1))
    };
    ends.enumerate().flat_map(name)
}

/// The lines that are only in one of the two: `-` for what should be there, `+` for what is there instead. Lists of the
/// same lines in another order are shown whole.
fn differences<T: AsRef<str>>(expected: &[T], seen: &[String]) -> Vec<String> {
    let expected: Vec<&str> = expected.iter().map(AsRef::as_ref).collect();
    if seen == expected {
        return Vec::new();
    }
    let mut surplus: Vec<&str> = seen.iter().map(String::as_str).collect();
    let mut missing = expected.clone();
    missing.retain(|line| match surplus.iter().position(|one| one == line) {
        Some(at) => {
            surplus.remove(at);
            false
        }
        None => true,
    });
    if missing.is_empty() && surplus.is_empty() {
        return vec![format!("- {expected:?}"), format!("+ {seen:?}")];
    }
    let missing = missing.iter().map(|line| format!("- {line}"));
    missing.chain(surplus.iter().map(|line| format!("+ {line}"))).collect()
}
