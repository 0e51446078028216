//! `lumenfall accounts …`

use super::{Failure, say};
use crate::base::{Timestamp, Usd};
use crate::config::Config;
use crate::store::{Account, Billing, NewAccount, Store};
use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(super) enum AccountCommand {
    /// Make an account.
    Create {
        /// Its name in rows and calls.
        id: String,
        /// What people call it; the id when not given.
        #[arg(long)]
        name: Option<String>,
        /// How it pays.
        #[arg(long, value_enum, default_value_t = Way::Postpaid)]
        billing: Way,
        /// Dollars that a postpaid account may owe; without end when not given.
        #[arg(long, value_parser = dollars)]
        credit_limit: Option<Usd>,
        /// Who is told when 80 % and all of a limit are used.
        #[arg(long)]
        webhook_url: Option<String>,
    },
    /// List accounts, oldest first.
    List,
    /// Pay into an account; an amount below zero takes back.
    Credit {
        /// The account.
        id: String,
        /// Dollars.
        #[arg(value_parser = dollars, allow_negative_numbers = true)]
        amount: Usd,
        /// What for.
        #[arg(long, default_value = "")]
        note: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Way {
    Prepaid,
    Postpaid,
}

fn dollars(text: &str) -> Result<Usd, String> {
    let amount = text.parse().ok().and_then(Usd::from_dollars);
    amount.ok_or_else(|| "an amount of dollars, such as 12.50".to_owned())
}

pub(super) async fn manage(command: AccountCommand, config: &Config) -> Result<(), Failure> {
    let store = Store::open(&config.database.without_journal()).await?;
    let done = run(command, &store).await;
    store.close().await;
    done
}

async fn run(command: AccountCommand, store: &Store) -> Result<(), Failure> {
    match command {
        AccountCommand::Create { id, name, billing, credit_limit, webhook_url } => {
            let billing = match billing {
                Way::Prepaid => Billing::Prepaid,
                Way::Postpaid => Billing::Postpaid,
            };
            let name = name.unwrap_or_else(|| id.clone());
            let new = NewAccount { id: Some(id.clone()), name, billing, credit_limit, webhook_url };
            let taken = || Failure::Said(format!("there is an account '{id}'"));
            let account = store.accounts().create(new).await?.ok_or_else(taken)?;
            say(format!("Account {} pays {}.", account.id, account.billing.as_str()))
        }
        AccountCommand::List => {
            say(format!("{:<28} {:<9} {:>16} {:>14} {:<25} NAME", "ID", "BILLING", "BALANCE", "RESERVED", "CREATED"))?;
            store.accounts().list().await?.iter().try_for_each(|account| say(line(account)))
        }
        AccountCommand::Credit { id, amount, note } => {
            let unknown = || Failure::Said(format!("there is no account '{id}'"));
            let account = store.accounts().credit(&id, amount, &note).await?.ok_or_else(unknown)?;
            say(format!("Account {id} has {} now.", account.balance))
        }
    }
}

fn line(account: &Account) -> String {
    let created = Timestamp::rfc3339(account.created_at);
    format!(
        "{:<28} {:<9} {:>16} {:>14} {created:<25} {}",
        account.id,
        account.billing.as_str(),
        account.balance.to_string(),
        account.reserved.to_string(),
        account.name
    )
}
