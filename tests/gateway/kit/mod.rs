//! A gateway on a free port, scripted upstreams, and fixture conversations.

mod fixture;
mod process;
mod running;
mod upstream;

pub(crate) use fixture::{
    DEPLOYED, DEPLOYED_MODEL, Ends, Fixture, Said, TurnOf, clip, file, fill, matches, mime, picture, pointed,
};
pub(crate) use process::{Process, free_address, micros};
pub(crate) use running::{Got, KEY, Kit, picture_facts};
pub(crate) use upstream::Scripted;
