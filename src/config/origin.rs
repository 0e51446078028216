//! Where a configuration came from, for those parts of it that are read again while the gateway serves.

use super::{Config, Problems};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a configuration was read, so that parts of it can be read again.
#[derive(Clone, Default)]
pub struct Origin {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    pub(super) environment: BTreeMap<String, String>,
}

/// The environment holds keys, so it is not shown.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("file", &self.file).finish_non_exhaustive()
    }
}

impl Origin {
    /// Reads everything again, the environment as it was.
    pub fn reread(&self) -> Result<Config, Problems> {
        Config::load(self.file.as_deref(), &self.environment)
    }
}
