//! fal's meter: the quantity that the result's header names, and the bill. Prices are data, lines that do not hold are left
//! to `bill`; the counting is here: seconds, tokens and frames of videos, megapixels of pictures made and given.

use super::super::bill;
use super::request::Order;
use crate::base::Usd;
use crate::catalog::price::{Flow, Metric, PriceLine};
use crate::catalog::{Price, Route};
use crate::media::Size;
use serde_json::{Map, Value};

/// The billable units of an order, and what they cost.
pub(super) fn read(route: &Route, input: &Map<String, Value>, order: &Order) -> (u64, Usd) {
    let area = pixels(order.size);
    let covers = |line: &PriceLine| line.min_area <= area && line.max_area.is_none_or(|most| area <= most);
    let made = only(&route.price, |line| line.flow == Flow::Output && covers(line));
    match order.seconds {
        Some(seconds) => read_video(&made, input, order, seconds),
        None => read_pictures(&made, &route.price, input, order),
    }
}

fn read_video(made: &Price, input: &Map<String, Value>, order: &Order, seconds: u32) -> (u64, Usd) {
    let seconds = u64::from(seconds);
    // Seedance's tokens (its page at <https://fal.ai/models>), and megapixels of all frames (the page of LTX-2 19B,
    // 2026-01).
    let tokens = pixels(order.size) * 24 * seconds / 1024;
    let frames = input.get("num_frames").and_then(Value::as_u64).unwrap_or_default();
    let megapixels = (pixels(order.size) * frames).div_ceil(1_000_000);
    let counts =
        [(Metric::Second, seconds), (Metric::Run, 1), (Metric::TokenImage, tokens), (Metric::Megapixel, megapixels)];
    let bills = counts.map(|(metric, count)| bill::price(&counted(made, metric), input, order.size, count).micros());
    let has = |metric| made.lines.iter().any(|line| line.metric == metric);
    let units = if has(Metric::Megapixel) {
        megapixels
    } else if has(Metric::Second) {
        seconds
    } else {
        1
    };
    (units, Usd::from_micros(bills.iter().sum()))
}

fn read_pictures(made: &Price, all: &Price, input: &Map<String, Value>, order: &Order) -> (u64, Usd) {
    let count = u64::from(order.count);
    let units = bill::units(made, order.size, count);
    let Some(given) = all.lines.iter().find(|line| line.flow == Flow::Input) else {
        return (units, bill::price(made, input, order.size, count));
    };
    // Pictures that are given count like pictures that are made; some endpoints reduce them first.
    let cap = given.up_to.map_or(u64::MAX, u64::from);
    let units = units + order.pictures.iter().map(|size| started(*size).min(cap)).sum::<u64>();
    (units, bill::price(&counted(made, Metric::Megapixel), input, order.size, units))
}

/// Some lines of a price list.
fn only(prices: &Price, keep: impl Fn(&PriceLine) -> bool) -> Price {
    let mut prices = prices.clone();
    prices.lines.retain(|line| keep(line));
    prices
}

/// The lines of one metric, as lines that count units as they are given: tiers then run over the whole call.
fn counted(prices: &Price, metric: Metric) -> Price {
    let mut prices = only(prices, |line| line.metric == metric);
    for line in &mut prices.lines {
        line.metric = Metric::Image;
        line.times = None;
    }
    prices
}

fn pixels(size: Size) -> u64 {
    u64::from(size.width) * u64::from(size.height)
}

fn started(size: Size) -> u64 {
    pixels(size).div_ceil(1024 * 1024).max(1)
}
