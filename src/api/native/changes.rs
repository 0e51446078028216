//! The fields by which keys and accounts are created and changed.

use crate::api::wire::fields::Fields;
use crate::base::Usd;
use crate::error::Error;

/// Reads one field as a change; `null` clears it, where it may be empty.
type ReadChange<T> = fn(&mut Fields, &str) -> Result<T, Error>;

/// The changeable fields of a resource, each with the function that reads it.
pub(super) struct ChangeableFields<T: 'static>(pub(super) &'static [(&'static str, ReadChange<T>)]);

impl<T> ChangeableFields<T> {
    /// Reads the fields that are present, `null` included, and refuses unknown ones. `others`: fields that the
    /// caller has read already.
    pub(super) fn read(&self, mut fields: Fields, others: &[&str]) -> Result<Vec<T>, Error> {
        let mut changes = Vec::new();
        for (name, read) in self.0 {
            if fields.0.contains_key(*name) {
                changes.push(read(&mut fields, name)?);
            }
        }
        let names = self.0.iter().map(|(name, _)| *name);
        let known: Vec<&str> = others.iter().copied().chain(names).collect();
        fields.refuse_unknown(&known)?;
        Ok(changes)
    }
}

/// A display name or note.
pub(super) fn read_label(fields: &mut Fields, name: &str) -> Result<Option<String>, Error> {
    match fields.string(name)? {
        Some(label) if label.chars().count() > 200 => {
            Err(Error::invalid(name, format!("'{name}' has at most 200 characters.")))
        }
        label => Ok(label),
    }
}

/// An amount that may not be negative.
pub(super) fn read_limit(fields: &mut Fields, name: &str) -> Result<Option<Usd>, Error> {
    match fields.dollars(name)? {
        Some(amount) if amount < Usd::ZERO => Err(Error::invalid(name, format!("'{name}' should not be below 0."))),
        amount => Ok(amount),
    }
}
