//! How long it takes to read and check the built-in catalog: part of every start and of every reload.

use criterion::Criterion;
use lumenfall::app;
use std::hint::black_box;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    criterion.bench_function("catalog/load", |bencher| bencher.iter(|| black_box(app::embedded_catalog()).is_ok()));
    criterion.final_summary();
}
