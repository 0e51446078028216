//! The switchboard under a paused clock: rate limits, turns, credentials, operators.

use super::*;
use crate::base::Secret;
use crate::outbound::{AuthScheme, Destination};
use crate::pipeline::upstream::Credential;
use crate::providers::{Site, find};
use futures::future::join_all;

const ROUTE: &str = "openai/gpt-image-2";

fn settings() -> Settings {
    let defaults: toml::Table = include_str!("../../../../config/default.toml").parse().unwrap();
    defaults["routing"].clone().try_into().unwrap()
}

fn board() -> Switchboard {
    Switchboard::new(&settings(), Rules::default())
}

fn upstream(weights: &[u32]) -> Upstream {
    let destination = Destination {
        base_url: "https://api.openai.com/v1".into(),
        hosts: &[],
        auth: AuthScheme::None,
        key: Secret::default(),
    };
    let credential =
        |weight: &u32| Credential { destination: destination.clone(), weight: *weight, mark: String::new() };
    Upstream {
        name: "openai".into(),
        adapter: find("openai").unwrap(),
        site: Site { base_url: destination.base_url.clone() },
        credentials: weights.iter().map(credential).collect(),
    }
}

fn limit(board: &Switchboard, at: usize, seconds: u64) {
    let fault = Fault::new(FaultKind::RateLimited, "slow down").retry_after(Some(Duration::from_secs(seconds)));
    board.judge(ROUTE, "openai", at, Err(&fault));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_holds_for_as_long_as_it_was_said_and_for_that_route_only() {
    let (board, upstream) = (board(), upstream(&[1]));
    limit(&board, 0, 7);
    assert_eq!(board.pick(ROUTE, &upstream, &[], &mut || 0.5), Pick::Wait(0));
    assert_eq!(board.view(ROUTE, &upstream).standing, Standing::Unhealthy);
    assert_eq!(board.pick("openai/gpt-image-1", &upstream, &[], &mut || 0.5), Pick::Ready(0), "limits are per model");
    let started = Instant::now();
    board.turn(ROUTE, "openai", 0, "key", started + Duration::from_secs(10)).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 7);
    // Who cannot wait for so long is told at once.
    limit(&board, 0, 60);
    let before = Instant::now();
    let left = board.turn(ROUTE, "openai", 0, "key", before + Duration::from_secs(10)).await.unwrap_err();
    assert!(left > Duration::from_secs(59) && before.elapsed().is_zero());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_go_in_turns_between_keys() {
    let board = board();
    limit(&board, 0, 2);
    let latest = Instant::now() + Duration::from_secs(10);
    let order = Mutex::new(Vec::new());
    let waits = ["a", "a", "a", "b", "c"].map(|key| {
        let (board, order) = (&board, &order);
        async move {
            board.turn(ROUTE, "openai", 0, key, latest).await.unwrap();
            order.lock().unwrap().push((key, Instant::now()));
        }
    });
    join_all(waits).await;
    let order = order.into_inner().unwrap();
    assert_eq!(order.iter().map(|(key, _)| *key).collect::<String>(), "abcaa");
    assert!(order.windows(2).all(|pair| pair[1].1 >= pair[0].1 + Duration::from_millis(20)), "not all at once");
}

#[tokio::test(start_paused = true)]
async fn so_many_may_wait_and_whoever_leaves_makes_room() {
    let board = Switchboard::new(&Settings { rate_limit_queue: 2, ..settings() }, Rules::default());
    limit(&board, 0, 5);
    let latest = Instant::now() + Duration::from_secs(10);
    let mut first = Box::pin(board.turn(ROUTE, "openai", 0, "a", latest));
    let mut second = Box::pin(board.turn(ROUTE, "openai", 0, "a", latest));
    assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
    assert!(board.turn(ROUTE, "openai", 0, "b", latest).await.is_err(), "the queue is full");
    drop(second);
    let mut third = Box::pin(board.turn(ROUTE, "openai", 0, "b", latest));
    assert!(futures::poll!(&mut third).is_pending(), "there is room again");
    drop(first);
    third.await.unwrap();
    assert_eq!(board.report().credentials["openai#0"].waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn credentials_are_drawn_by_weight_and_bad_ones_passed_over() {
    let (board, upstream) = (board(), upstream(&[3, 1]));
    let drawn = |dice: f64| board.pick(ROUTE, &upstream, &[], &mut || dice);
    assert_eq!((drawn(0.0), drawn(0.74), drawn(0.76)), (Pick::Ready(0), Pick::Ready(0), Pick::Ready(1)));
    let refused = Fault::new(FaultKind::Auth, "no");
    board.judge(ROUTE, "openai", 0, Err(&refused));
    assert_eq!(drawn(0.0), Pick::Ready(1));
    assert_eq!(board.view(ROUTE, &upstream).standing, Standing::Healthy, "one good credential is enough");
    limit(&board, 1, 5);
    assert_eq!(drawn(0.0), Pick::Wait(1), "waiting for a good one comes before a refused one");
    board.judge(ROUTE, "openai", 1, Err(&refused));
    assert_eq!(drawn(0.0), Pick::Ready(0), "the last resort");
    board.reload(Rules::default());
    assert_eq!(board.view(ROUTE, &upstream).standing, Standing::Healthy, "the configuration changed");
}

#[tokio::test(start_paused = true)]
async fn operators_words_cover_routes_and_providers() {
    let (board, upstream) = (board(), upstream(&[1]));
    board.obey([("openai".to_owned(), Operator::Disabled)]);
    assert_eq!(board.begin(ROUTE, &upstream), None);
    board.obey([(ROUTE.to_owned(), Operator::Draining)]);
    assert_eq!(board.view(ROUTE, &upstream).operator, Operator::Draining);
    let fault = Fault::new(FaultKind::Unavailable, "no");
    for _ in 0..5 {
        board.judge(ROUTE, "openai", 0, Err(&fault));
    }
    assert_eq!(board.begin(ROUTE, &upstream), Some(Standing::Unhealthy));
    board.obey([]);
    assert_eq!(board.begin(ROUTE, &upstream), Some(Standing::Healthy), "it starts afresh");
}

/// What a request itself did wrong is no mark against a route.
#[tokio::test(start_paused = true)]
async fn refusals_of_a_request_hold_nothing_against_a_route() {
    let (board, upstream) = (board(), upstream(&[1]));
    for kind in [FaultKind::BadRequest, FaultKind::Moderated, FaultKind::Cancelled] {
        for _ in 0..50 {
            board.judge(ROUTE, "openai", 0, Err(&Fault::new(kind, "no")));
        }
        assert_eq!(board.view(ROUTE, &upstream).standing, Standing::Healthy, "{kind:?}");
    }
}
