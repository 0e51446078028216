//! From a database URL to prepared connections.

use super::{StoreError, migrations};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Executor};
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// How long a connection may take to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// Begins a transaction that writes. In SQLite it takes the write lock at once, so that what it reads cannot change before
    /// it writes; in PostgreSQL rows are locked one by one.
    pub(crate) const fn begin_write(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            // A process that stops here must not hold its locks for long.
            Self::Postgres => {
                "BEGIN; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '5s'; \
                 SET LOCAL idle_in_transaction_session_timeout = '10s'"
            }
        }
    }

    /// Begins a transaction that reads, with a time limit for each of its statements.
    pub(crate) fn begin_read(self, seconds: u64) -> String {
        match self {
            Self::Sqlite => "BEGIN".to_owned(),
            Self::Postgres => format!("BEGIN READ ONLY; SET LOCAL statement_timeout = '{seconds}s'"),
        }
    }

    /// Ends a SELECT of rows to lease: replicas that lease at the same time skip each other's rows. SQLite has one writer at a
    /// time anyway.
    pub(crate) const fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Ends a SELECT whose rows nobody else may change until the transaction ends.
    pub(crate) const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE",
        }
    }
}

/// A database that can be connected to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    engine: Engine,
    options: AnyConnectOptions,
    /// The file, when the database is one.
    file: Option<PathBuf>,
    /// Names the database, without its password.
    label: String,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        match scheme {
            "sqlite" => Self::file(rest.trim_start_matches("//")),
            "postgres" | "postgresql" => Self::server(url),
            // The text may hold a password in a place that we do not recognise, so none of it is repeated.
            _ => Err(refused("(not a database URL)", &"its address is not one that we know", ADDRESS)),
        }
    }

    fn file(path: &str) -> Result<Self, StoreError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let label = format!("sqlite://{path}");
        if path.is_empty() || path == ":memory:" || !["", "mode=rwc"].contains(&query) {
            return Err(refused(&label, &"SQLite needs the path of a file and nothing else", ADDRESS));
        }
        let file = std::path::absolute(path).map_err(|error| refused(&label, &error, ADDRESS))?;
        // The path is taken as it is written, so whatever a URL would read into it is escaped.
        let mut url = String::from("sqlite://");
        for byte in file.to_string_lossy().bytes() {
            if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}");
            }
        }
        url.push_str("?mode=rwc");
        let options = url.parse::<AnyConnectOptions>().map_err(|error| refused(&label, &error, ADDRESS))?;
        Ok(Self { engine: Engine::Sqlite, options: options.disable_statement_logging(), file: Some(file), label })
    }

    fn server(url: &str) -> Result<Self, StoreError> {
        let mut options = url
            .parse::<AnyConnectOptions>()
            .map_err(|error| refused("postgres://… (not a valid URL)", &error, ADDRESS))?
            .disable_statement_logging();
        if !options.database_url.query_pairs().any(|(name, _)| name == "application_name") {
            options.database_url.query_pairs_mut().append_pair("application_name", "lumenfall");
        }
        let mut shown = options.database_url.clone();
        // Both fail only for URLs that cannot hold a password.
        let _ = shown.set_password(None);
        shown.set_query(None);
        Ok(Self { engine: Engine::Postgres, options, file: None, label: shown.to_string() })
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Makes sure that directory and file exist, the tables are of this version, and the database can be written to.
    pub(crate) async fn prepare(&self) -> Result<(), StoreError> {
        if let Some(directory) = self.file.as_deref().and_then(Path::parent) {
            tokio::fs::create_dir_all(directory).await.map_err(|error| {
                let cause = format!("its directory {} cannot be made: {error}", directory.display());
                refused(&self.label, &cause, self.advice())
            })?;
        }
        let opened = timeout(CONNECT_TIMEOUT, self.connect())
            .await
            .map_err(|_| refused(&self.label, &"no answer within 5 seconds", self.advice()))?;
        let mut connection = opened.map_err(|error| refused(&self.label, &error, self.advice()))?;
        let migrated = match self.engine {
            Engine::Sqlite => migrations::migrate_sqlite(&mut connection).await,
            Engine::Postgres => migrations::migrate_postgres(&mut connection).await,
        };
        migrated.map_err(|error| {
            let cause = format!("its tables cannot be brought to this version: {error}");
            refused(&self.label, &cause, self.advice())
        })?;
        // A read-only database opens without an error. It is better refused now than at the first request.
        connection
            .execute("INSERT INTO accounts (id, name, created_at) VALUES ('default', 'Default', 0) ON CONFLICT (id) DO NOTHING")
            .await
            .map_err(|error| refused(&self.label, &format!("it cannot be written to: {error}"), self.advice()))?;
        // An error while closing changes nothing.
        let _ = connection.close().await;
        Ok(())
    }

    pub(crate) async fn connect(&self) -> Result<AnyConnection, sqlx::Error> {
        let mut connection = AnyConnection::connect_with(&self.options).await?;
        configure(&mut connection, self.engine).await?;
        Ok(connection)
    }

    /// Connections for everything but the writes of the request log.
    pub(crate) fn pool(&self, size: u32) -> AnyPool {
        let engine = self.engine;
        AnyPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(CONNECT_TIMEOUT)
            .after_connect(move |connection, _| Box::pin(configure(connection, engine)))
            .connect_lazy_with(self.options.clone())
    }

    pub(crate) const fn engine(&self) -> Engine {
        self.engine
    }

    fn advice(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => {
                "Make the place writable for the user that runs lumenfall, or set database.url \
                 (LUMENFALL_DATABASE__URL) to another file"
            }
            Engine::Postgres => {
                "Check that PostgreSQL runs at that address, that the database exists, and that user and password may \
                 create tables in it (database.url or LUMENFALL_DATABASE__URL)"
            }
        }
    }
}

const ADDRESS: &str = "Set database.url (LUMENFALL_DATABASE__URL) to sqlite://path/to/file.db or \
                       postgres://user:password@host:5432/database";

fn refused(database: &str, cause: &dyn fmt::Display, advice: &str) -> StoreError {
    StoreError::Open { database: database.to_owned(), cause: cause.to_string(), advice: advice.to_owned() }
}

/// Settings of every new connection.
async fn configure(connection: &mut AnyConnection, engine: Engine) -> Result<(), sqlx::Error> {
    match engine {
        // WAL: readers never wait for the writer. FULL: a committed row survives a power cut.
        Engine::Sqlite => {
            connection
                .execute(
                    "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                     PRAGMA foreign_keys = ON;",
                )
                .await?;
        }
        Engine::Postgres => {
            // Nothing: behind a pooler, a session's settings would be lost, or apply to another client. See `begin_*`.
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_shows_a_password() {
        for url in [
            "postgres://me:hunter2@db:5432/lumenfall",
            "postgres://me@db/lumenfall?password=hunter2",
            "postgres://me:hunter2@db:notaport/x",
            "mysql://me:hunter2@db/x",
            "hunter2",
        ] {
            let seen = match Target::parse(url) {
                Ok(target) => target.label().to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(!seen.contains("hunter2"), "{seen}");
        }
    }

    #[test]
    fn the_label_names_the_database() {
        assert_eq!(Target::parse("postgres://me:x@db:5432/log").unwrap().label(), "postgres://me@db:5432/log");
        assert_eq!(Target::parse("sqlite://data/log.db").unwrap().label(), "sqlite://data/log.db");
    }
}
