//! Planning: which routes can do a job, in which order, and what each is asked for. Pure, but for the conversion of inputs.

mod adjustment;
mod fit;
mod inputs;
mod params;
mod plan;
mod scale;

pub use adjustment::Adjustment;
pub use fit::brief_for;
pub use plan::Plan;

pub(super) use fit::{Debts, fit};
pub(super) use inputs::{PreparedInputs, convert_inputs};
pub(super) use plan::{Candidate, Scene, plan};

#[cfg(test)]
mod tests;
