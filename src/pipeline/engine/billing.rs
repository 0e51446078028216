//! The cost of a creating call: of what was delivered, or of a call that failed.

use super::state::{OutputFile, Submission};
use crate::base::Usd;
use crate::catalog::{self, Charge};
use crate::fault::{Accepted, Fault};
use crate::job::{Job, Usage};
use crate::media::Size;
use crate::pipeline::planning::Candidate;
use rust_decimal::Decimal;

/// The cost of one call: what is known, and what may have been spent besides.
#[derive(Debug, Clone)]
pub(super) struct Cost {
    pub charge: Charge,
    pub uncertain: Option<Usd>,
}

impl Cost {
    fn known(charge: Charge) -> Self {
        Self { charge, uncertain: None }
    }
}

/// Prices one call of a route by what it made.
fn work<'a>(
    candidate: &'a Candidate,
    job: &Job,
    submission: &Submission,
    sizes: Vec<Size>,
    usage: Usage,
) -> catalog::Made<'a> {
    let made = candidate.made(job, sizes, usage);
    // The provider was given the converted pictures.
    if submission.input_sizes.is_empty() {
        made
    } else {
        catalog::Made { given: submission.input_sizes.clone(), ..made }
    }
}

/// The cost of a call that ran, whether its `files` can be used or not.
pub(super) fn of_outputs<E>(
    candidate: &Candidate,
    job: &Job,
    submission: &Submission,
    files: &[Result<OutputFile, E>],
    usage: Usage,
) -> Cost {
    if files.is_empty() && usage == Usage::default() {
        // No output and no word of a bill: whether it was bought is not known.
        return Cost { charge: Charge::nothing(), uncertain: candidate.estimate(job, submission.n).amount };
    }
    let size = |file: &Result<OutputFile, E>| {
        let size = file.as_ref().ok().and_then(|file| file.provider_size.or(file.size));
        size.unwrap_or(candidate.fit.expect)
    };
    let measured = files.iter().find_map(|file| file.as_ref().ok()?.millis);
    let measured = measured.map(|millis| Decimal::from(millis) / Decimal::from(1000));
    let made = work(candidate, job, submission, files.iter().map(size).collect(), usage);
    let seconds = catalog::Made::seconds(measured, candidate.fit.seconds);
    Cost::known(candidate.route.price.charge(&catalog::Made { seconds, ..made }))
}

/// The cost of a failed call: what the provider reports; else nothing when it was not accepted, the estimate when it was,
/// and an uncertain estimate when that is not known.
pub(super) fn of_fault(candidate: &Candidate, job: &Job, submission: &Submission, fault: &Fault) -> Cost {
    if let Some(usage) = &fault.usage {
        let made = work(candidate, job, submission, Vec::new(), Usage::clone(usage));
        let charge = candidate.route.price.charge(&made);
        if charge.amount.is_some() {
            return Cost::known(charge);
        }
    }
    let nothing = Charge::nothing();
    match fault.accepted {
        Accepted::No => Cost::known(nothing),
        Accepted::Maybe => {
            let uncertain = candidate.estimate(job, submission.n).amount;
            let unknown = || "a failed call may have been billed, at a price that the catalog does not know".to_owned();
            Cost { charge: Charge { note: uncertain.is_none().then(unknown), ..nothing }, uncertain }
        }
        Accepted::Yes => {
            let estimate = candidate.estimate(job, submission.n);
            let listed = || "the provider ran this call and then failed it; the cost is the price list's".to_owned();
            let note = estimate.note.clone().or_else(|| Some(listed()));
            Cost::known(Charge { note, ..estimate })
        }
    }
}

/// The cost of a failed call whose route has left the catalog.
pub(super) fn of_unknown_route() -> Cost {
    let note = Some("the route is no longer in the catalog".to_owned());
    Cost::known(Charge { note, ..Charge::nothing() })
}
