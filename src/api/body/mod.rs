//! Reading request bodies within bounds: JSON objects and multipart forms, against one budget of memory.

mod form;
mod input_source;
mod json;

pub(super) use form::{is_form, read_form};
pub(super) use input_source::{INPUT_PARAMETERS, InputSource};
pub(super) use json::JsonObject;
