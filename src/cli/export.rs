//! `lumenfall requests export`: the log as CSV or JSON lines, in memory that does not grow with it.

use super::Failure;
use crate::base::Timestamp;
use crate::config::Config;
use crate::store::{ExportFormat, Filter, Store};
use clap::{Args, Subcommand, ValueEnum};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(super) enum RequestCommand {
    /// Write the log, oldest first.
    Export(Export),
}

#[derive(Debug, Args)]
pub(super) struct Export {
    /// csv or jsonl.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// From this moment on (2026-11-01 or 2026-11-01T08:00:00Z).
    #[arg(long, value_parser = moment)]
    from: Option<Timestamp>,
    /// Before this moment.
    #[arg(long, value_parser = moment)]
    to: Option<Timestamp>,
    /// Of this account only.
    #[arg(long)]
    account: Option<String>,
    /// Into this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Csv,
    Jsonl,
}

/// A moment on the command line.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a date or a moment, such as 2026-11-01 or 2026-11-01T08:00:00Z".to_owned())
}

pub(super) async fn run(command: RequestCommand, config: &Config) -> Result<(), Failure> {
    let RequestCommand::Export(export) = command;
    let store = Store::open(&config.database.without_journal()).await?;
    let out: Box<dyn Write + Send> = match &export.output {
        Some(path) => Box::new(File::create(path)?),
        None => Box::new(io::stdout()),
    };
    let done = write(&export, &store, BufWriter::new(out)).await;
    store.close().await;
    done
}

async fn write(export: &Export, store: &Store, mut out: impl Write) -> Result<(), Failure> {
    let format = match export.format {
        Format::Csv => ExportFormat::Csv,
        Format::Jsonl => ExportFormat::JsonLines,
    };
    let filter = Filter {
        created_after: export.from,
        created_before: export.to.map(|moment| Timestamp::from_millis(moment.millis() - 1)),
        account_id: export.account.clone(),
        ..Filter::default()
    };
    out.write_all(format.head().as_bytes())?;
    let mut last = None;
    while let Some(records) = store.requests().next_batch(&filter, last.as_ref()).await? {
        last = records.last().map(|record| (record.created_at, record.id.clone()));
        out.write_all(&format.rows(&records))?;
    }
    Ok(out.flush()?)
}
