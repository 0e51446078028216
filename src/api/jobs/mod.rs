//! Stored jobs as resources: videos, and images made in the background.

pub(super) mod images;
mod rows;
pub(super) mod videos;

pub(super) use rows::{find_video, is_video, job_json, stored_video};
