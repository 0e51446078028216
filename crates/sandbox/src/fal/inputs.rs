//! The pictures that an input object brings: their number, and whether they are any.

use super::endpoint::needs_pictures;
use super::request::Reader;
use crate::catalog::{InputShape, Inputs, Route};
use crate::media::{Limits, Size, inspect};
use serde_json::{Value, json};

impl Reader<'_> {
    /// Reads them where that endpoint takes them: their sizes, and complaints.
    pub(super) fn pictures(&mut self, route: &Route) -> Vec<Size> {
        let Some(inputs) = &route.inputs else { return Vec::new() };
        if let Some((field, link)) = inputs.last.as_ref().and_then(|field| Some((field, self.get(field)?))) {
            match link.as_str() {
                Some(link) => drop(look(self, &[field], link)),
                None => self.complain(&[field], "string_type", "Input should be a valid string", &json!({}), link),
            }
        }
        if let Some(field) = &inputs.video {
            // A video is not looked at; it has to be there.
            match self.get(field) {
                None => self.missing(field),
                Some(Value::String(_)) => {}
                Some(other) => {
                    self.complain(&[field], "string_type", "Input should be a valid string", &json!({}), other);
                }
            }
            return Vec::new();
        }
        let Some(said) = self.get(&inputs.field) else {
            if needs_pictures(route) {
                self.missing(&inputs.field);
            }
            return Vec::new();
        };
        match (said, inputs.shape) {
            (Value::Array(links), InputShape::List) => self.listed_pictures(inputs, links),
            (Value::String(link), InputShape::Single | InputShape::Numbered) => {
                look(self, &[&inputs.field], link).into_iter().collect()
            }
            (other, InputShape::List) => {
                self.complain(&[&inputs.field], "list_type", "Input should be a valid list", &json!({}), other);
                Vec::new()
            }
            (other, _) => {
                self.complain(&[&inputs.field], "string_type", "Input should be a valid string", &json!({}), other);
                Vec::new()
            }
        }
    }

    fn listed_pictures(&mut self, inputs: &Inputs, links: &[Value]) -> Vec<Size> {
        let count = links.len();
        if count == 0 {
            let message = "List should have at least 1 item";
            self.complain(&[&inputs.field], "sequence_too_short", message, &json!({"min_length": 1}), &json!([]));
        }
        if count > inputs.max {
            let message = format!("List should have at most {} items", inputs.max);
            let context = json!({"max_length": inputs.max, "actual_length": count});
            self.complain(&[&inputs.field], "sequence_too_long", &message, &context, &json!(count));
        }
        let mut sizes = Vec::new();
        for (index, link) in links.iter().enumerate() {
            let place = [inputs.field.as_str(), &index.to_string()];
            match link.as_str() {
                Some(link) => sizes.extend(look(self, &place, link)),
                None => self.complain(&place, "string_type", "Input should be a valid string", &json!({}), link),
            }
        }
        sizes
    }
}

/// The size of a picture. One behind a link is not fetched and passes for a square megapixel.
fn look(reader: &mut Reader<'_>, place: &[&str], link: &str) -> Option<Size> {
    if link.starts_with("https://") || link.starts_with("http://") {
        return Some(Size::new(1024, 1024));
    }
    let shown: String = link.chars().take(40).collect();
    let Some(data) = link.strip_prefix("data:") else {
        let message = "Failed to download the file. Please check if the URL is accessible and try again.";
        reader.complain(place, "file_download_error", message, &json!({}), &json!(shown));
        return None;
    };
    let file = data.split_once(";base64,").and_then(|(_, text)| base64_simd::STANDARD.decode_to_vec(text).ok());
    let facts = file.and_then(|file| inspect(&file, &Limits::default()).ok());
    if facts.is_none() {
        let message =
            "Failed to load the image. Please ensure the image file is not corrupted and is in a supported format.";
        reader.complain(place, "image_load_error", message, &json!({}), &json!(shown));
    }
    facts.map(|facts| facts.size)
}
