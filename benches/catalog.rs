//! How long it takes to read and check the built-in catalog: part of every start and of every reload, and to stay under
//! 50 ms.

use criterion::{Criterion, Throughput};
use lumenfall::app;
use std::hint::black_box;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let routes = app::embedded_catalog()
        .map_or(0, |catalog| catalog.models().iter().map(|model| catalog.routes(model).len() as u64).sum());
    let mut group = criterion.benchmark_group("catalog");
    group.throughput(Throughput::Elements(routes));
    let name = format!("load of {routes} routes");
    group.bench_function(name, |bencher| bencher.iter(|| black_box(app::embedded_catalog()).is_ok()));
    group.finish();
    criterion.final_summary();
}
