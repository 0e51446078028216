//! Planning: which routes can do a job, in which order, and what each is asked for. Pure, but for the conversion of inputs.

mod fit;
mod inputs;
mod plan;
mod scale;

pub use fit::{Adjustment, brief_for};
pub use plan::Plan;

pub(super) use fit::{Debts, fit};
pub(super) use inputs::{PreparedInputs, convert_inputs};
pub(super) use plan::{Candidate, Scene, plan};

#[cfg(test)]
mod tests;
