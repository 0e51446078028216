//! `lumenfall keys`

use super::{Failure, say};
use crate::base::{Secret, Timestamp};
use crate::config::Config;
use crate::store::{Cursor, Key, NewKey, Page, Store};
use clap::Subcommand;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make a key and print it. It is shown this once.
    Create {
        /// A name to know it by.
        #[arg(long)]
        name: Option<String>,
        /// The account that pays.
        #[arg(long, default_value = "default")]
        account: String,
        /// May manage keys and see every account.
        #[arg(long)]
        admin: bool,
        /// Models that it may use, as patterns; every model when none is given.
        #[arg(long = "allow-model", value_name = "PATTERN")]
        allowed_models: Vec<String>,
    },
    /// List keys, newest first.
    List,
    /// Give a key a new secret and print it.
    Rotate {
        /// The key's id.
        id: String,
        /// Seconds for which the old secret still works.
        #[arg(long, default_value_t = 0)]
        grace_seconds: u64,
    },
    /// Revoke a key, at once.
    Revoke {
        /// The key's id.
        id: String,
    },
}

pub(super) async fn manage(command: KeyCommand, config: &Config) -> Result<(), Failure> {
    let store = Store::open(&config.database.without_journal()).await?;
    let done = run_key_command(command, &store).await;
    store.close().await;
    done
}

async fn run_key_command(command: KeyCommand, store: &Store) -> Result<(), Failure> {
    let unknown = |id: &str| Failure::Said(format!("there is no active key '{id}'"));
    match command {
        KeyCommand::Create { name, account, admin, allowed_models } => {
            let new = NewKey { account_id: account, name, admin, allowed_models, ..NewKey::default() };
            let (key, secret) = store.keys().create(new).await?;
            say_secret(&key, &secret)
        }
        KeyCommand::List => list_keys(store).await,
        KeyCommand::Rotate { id, grace_seconds } => {
            let grace = Duration::from_secs(grace_seconds);
            let rotated = store.keys().rotate(&id, None, grace, Timestamp::now()).await?;
            let (key, secret) = rotated.ok_or_else(|| unknown(&id))?;
            say_secret(&key, &secret)
        }
        KeyCommand::Revoke { id } => {
            let known = store.keys().revoke(&id, None, Timestamp::now()).await?;
            if known { say(format!("Key {id} is revoked.")) } else { Err(unknown(&id)) }
        }
    }
}

fn say_secret(key: &Key, secret: &Secret) -> Result<(), Failure> {
    let kind = if key.admin { "Admin key" } else { "Key" };
    say(format!("{kind} {} of account {}; it is shown this once:\n\n{}", key.id, key.account_id, secret.expose()))
}

async fn list_keys(store: &Store) -> Result<(), Failure> {
    say(format!("{:<28} {:<9} {:<6} {:<12} {:<25} NAME", "ID", "STATUS", "ADMIN", "ACCOUNT", "CREATED"))?;
    let mut cursor = Cursor::Start;
    while let Some(listed) = store.keys().list(None, None, &Page { limit: 100, cursor }).await? {
        for key in &listed.items {
            let status = if key.revoked_at.is_some() { "revoked" } else { "active" };
            let (admin, name) = (if key.admin { "yes" } else { "no" }, key.name.as_deref().unwrap_or("-"));
            let (account, created) = (&key.account_id, key.created_at.rfc3339());
            say(format!("{:<28} {status:<9} {admin:<6} {account:<12} {created:<25} {name}", key.id))?;
        }
        match listed.items.last().filter(|_| listed.has_older) {
            Some(last) => cursor = Cursor::After(last.id.clone()),
            None => break,
        }
    }
    Ok(())
}
