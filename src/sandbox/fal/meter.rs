//! fal's meter: the quantity that the result's header names, and the bill.

use super::super::bill;
use super::endpoint::bills_inputs;
use super::request::Order;
use crate::base::Usd;
use crate::catalog::price::Metric;
use crate::catalog::{Price, Route};
use crate::media::Size;
use serde_json::{Map, Value};

/// The billable units of an order, and what they cost.
pub(super) fn read(route: &Route, input: &Map<String, Value>, order: &Order) -> (u64, Usd) {
    let (prices, count) = (&route.price, u64::from(order.count));
    let bill = |prices: &Price, quantity: u64| bill::price(prices, input, order.size, quantity);
    if let Some(seconds) = order.seconds {
        let per_second = prices.lines.iter().any(|line| line.metric == Metric::Second);
        return (if per_second { seconds.into() } else { 1 }, bill(&counted(prices, Metric::Second), seconds.into()));
    }
    let made = bill::units(prices, order.size, count);
    if !bills_inputs(route) {
        return (made, bill(prices, count));
    }
    let units = made + order.pictures.iter().map(|size| started(*size)).sum::<u64>();
    (units, bill(&counted(prices, Metric::Megapixel), units))
}

/// The prices with lines that count units as they are given: the tiers of a line then run over the whole call.
fn counted(prices: &Price, metric: Metric) -> Price {
    let mut prices = prices.clone();
    for line in prices.lines.iter_mut().filter(|line| line.metric == metric) {
        line.metric = Metric::Image;
    }
    prices
}

fn started(size: Size) -> u64 {
    (u64::from(size.width) * u64::from(size.height)).div_ceil(1024 * 1024).max(1)
}
