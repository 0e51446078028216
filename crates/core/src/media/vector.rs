//! SVG to pixels. Nothing outside the file is looked at (no links, no other files), pictures inside it are held to the
//! same limits as any other, and a file whose references would unfold to more than can be drawn is refused unread.

use super::bitmap::Bitmap;
use super::resize::fit_within;
use super::{Flaw, Format, Limits, Picture, Size, inspect};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::roxmltree::{Document, Node, NodeId, ParsingOptions};
use resvg::usvg::{ImageHrefResolver, ImageKind, Options, Tree, fontdb};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Longest file, in bytes.
const LONGEST: usize = 32 << 20;
/// Most elements, as written.
const MOST_NODES: u32 = 500_000;
/// Most elements once every reference (`use`, patterns, masks, …) is followed.
const MOST_DRAWN: u64 = 2_000_000;
/// Deepest nesting, references followed. Each level is a few frames of stack.
const DEEPEST: u32 = 100;

/// What is said when a file has text and the machine has nothing to write it with.
pub(super) const WORDLESS: &str = "text left out of the SVG, no fonts are installed";

/// The machine's fonts, read once. None may be installed: then text is left out.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_system_fonts();
    Arc::new(fonts)
});

/// Draws an SVG at the size that it states, or as large as fits into `frame`.
///
/// # Errors
/// [`Flaw::Broken`] when it is no sound SVG or too much to draw, [`Flaw::TooManyPixels`] when it is too large.
pub(super) fn rasterise(
    picture: &Picture,
    frame: Option<Size>,
    limits: &Limits,
    notes: &mut Vec<&'static str>,
) -> Result<Bitmap, Flaw> {
    let size = frame.map_or(picture.facts.size, |frame| fit_within(picture.facts.size, frame));
    if size.area() > limits.max_pixels {
        return Err(Flaw::TooManyPixels { size, max: limits.max_pixels });
    }
    let text = std::str::from_utf8(&picture.bytes).map_err(|_| Flaw::broken("the SVG is not UTF-8"))?;
    if text.len() > LONGEST {
        return Err(Flaw::Broken(format!("the SVG is longer than {LONGEST} bytes")));
    }
    let options = ParsingOptions { allow_dtd: true, nodes_limit: MOST_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(unreadable)?;
    Unfolded::of(&document)?;
    if FONTS.is_empty() && document.descendants().any(|node| node.has_tag_name("text")) {
        notes.push(WORDLESS);
    }
    let tree = Tree::from_xmltree(&document, &options_for(limits)).map_err(unreadable)?;
    draw(&tree, size)
}

fn draw(tree: &Tree, size: Size) -> Result<Bitmap, Flaw> {
    let mut canvas =
        Pixmap::new(size.width, size.height).ok_or_else(|| Flaw::broken("the SVG is too large to draw"))?;
    let stated = tree.size();
    let (width, height) = (f64::from(stated.width()), f64::from(stated.height()));
    #[expect(clippy::cast_possible_truncation, reason = "a factor between two sizes needs no more")]
    let (x, y) = ((f64::from(size.width) / width) as f32, (f64::from(size.height) / height) as f32);
    resvg::render(tree, Transform::from_scale(x, y), &mut canvas.as_mut());
    Bitmap::new(size, canvas.take_demultiplied(), true)
}

/// No files, no links, and no picture inside that would not be let in on its own.
fn options_for(limits: &Limits) -> Options<'static> {
    let limits = *limits;
    let inside = move |_: &str, data: Arc<Vec<u8>>, _: &Options<'_>| {
        let facts = inspect::inspect(&data, &limits).ok()?;
        match facts.format {
            Format::Png => Some(ImageKind::PNG(data)),
            Format::Jpeg => Some(ImageKind::JPEG(data)),
            Format::Gif => Some(ImageKind::GIF(data)),
            Format::Webp => Some(ImageKind::WEBP(data)),
            Format::Avif | Format::Svg => None,
        }
    };
    Options {
        image_href_resolver: ImageHrefResolver {
            resolve_data: Box::new(inside),
            resolve_string: Box::new(|_, _| None),
        },
        fontdb: Arc::clone(&FONTS),
        ..Options::default()
    }
}

fn unreadable(fault: impl std::fmt::Display) -> Flaw {
    Flaw::Broken(format!("the SVG cannot be read: {fault}"))
}

/// How much a document is once its references are followed: ten lines of `use` can stand for a billion shapes.
struct Unfolded<'a, 'input> {
    by_id: HashMap<&'a str, Node<'a, 'input>>,
    /// Whatever a style sheet refers to may be meant by any element with a class.
    by_class: Vec<String>,
    /// Of elements that have been counted: how many they stand for, and how deep. `None` while they are being counted.
    counted: HashMap<NodeId, Option<(u64, u32)>>,
}

impl<'a, 'input> Unfolded<'a, 'input> {
    fn of(document: &'a Document<'input>) -> Result<(), Flaw> {
        let named = document.descendants().filter_map(|node| Some((node.attribute("id")?, node)));
        let sheets = document.descendants().filter(|node| node.has_tag_name("style")).filter_map(|node| node.text());
        let mut unfolded = Unfolded {
            by_id: named.collect(),
            by_class: sheets.flat_map(targets).map(str::to_owned).collect(),
            counted: HashMap::new(),
        };
        unfolded.count(document.root_element(), 0).map(drop)
    }

    fn count(&mut self, node: Node<'a, 'input>, depth: u32) -> Result<(u64, u32), Flaw> {
        let (mut total, mut below) = (1u64, 0u32);
        match self.counted.get(&node.id()) {
            Some(None) => return Err(Flaw::broken("the SVG refers to itself")),
            Some(Some(known)) => (total, below) = *known,
            None => {
                if depth > DEEPEST {
                    return Err(Flaw::broken("the SVG is nested too deeply"));
                }
                self.counted.insert(node.id(), None);
                for next in node.children().filter(Node::is_element).chain(self.referred(node)) {
                    let (many, deep) = self.count(next, depth + 1)?;
                    total = total.saturating_add(many);
                    below = below.max(deep + 1);
                }
                self.counted.insert(node.id(), Some((total, below)));
            }
        }
        if total > MOST_DRAWN {
            return Err(Flaw::broken("the SVG repeats itself more often than can be drawn"));
        }
        if depth + below > DEEPEST {
            return Err(Flaw::broken("the SVG is nested too deeply"));
        }
        Ok((total, below))
    }

    /// The elements that this one refers to. Gradients and filters refer to what they build on, and are no larger for it.
    fn referred(&self, node: Node<'a, 'input>) -> Vec<Node<'a, 'input>> {
        let mut ids: Vec<&str> = Vec::new();
        for attribute in node.attributes() {
            match attribute.name() {
                "href" => ids.extend(attribute.value().strip_prefix('#')),
                _ => ids.extend(targets(attribute.value())),
            }
        }
        if node.has_attribute("class") {
            ids.extend(self.by_class.iter().map(String::as_str));
        }
        ids.into_iter().filter_map(|id| self.by_id.get(id).copied()).collect()
    }
}

/// The ids in every `url(#id)` of a value.
fn targets(value: &str) -> impl Iterator<Item = &str> {
    value.split("url(").skip(1).filter_map(|rest| {
        let inner = rest.split(')').next()?.trim().trim_matches(['"', '\'']);
        inner.strip_prefix('#')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;

    fn picture(text: &str) -> Picture {
        Picture::verify(bytes::Bytes::from(text.to_owned()), &Limits::default()).unwrap()
    }

    fn drawn(text: &str, frame: Option<Size>) -> Result<Bitmap, Flaw> {
        rasterise(&picture(text), frame, &Limits::default(), &mut Vec::new())
    }

    #[test]
    fn draws_at_its_own_size_or_into_a_frame() {
        let text = r##"<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20" viewBox="0 0 4 2">
            <rect width="2" height="2" fill="#f00"/></svg>"##;
        let own = drawn(text, None).unwrap();
        assert_eq!((own.size, &own.data[..4]), (Size::new(40, 20), &[255, 0, 0, 255][..]));
        assert_eq!(own.data[39 * 4 + 3], 0, "the right half is empty");
        assert_eq!(drawn(text, Some(Size::new(100, 100))).unwrap().size, Size::new(100, 50));
        let tight = Limits { max_pixels: 100, ..Limits::default() };
        let flaw = rasterise(&picture(text), None, &tight, &mut Vec::new()).unwrap_err();
        assert!(matches!(flaw, Flaw::TooManyPixels { .. }));
    }

    #[test]
    fn files_and_links_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("secret.png");
        std::fs::write(&path, crate::media::draw("s", Size::new(64, 64), Format::Png).unwrap()).unwrap();
        let text = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="64" height="64">
            <image xlink:href="{}" width="64" height="64"/></svg>"#,
            path.display()
        );
        assert!(drawn(&text, None).unwrap().data.iter().all(|byte| *byte == 0), "nothing was drawn");
    }

    #[test]
    fn bombs_are_refused() {
        let wrap =
            |inner: &str| format!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">{inner}</svg>"#);
        let mut laughs = r#"<g id="a0"><rect width="1" height="1"/></g>"#.to_owned();
        for level in 1..40 {
            let below = level - 1;
            let _ = write!(laughs, r##"<g id="a{level}"><use href="#a{below}"/><use href="#a{below}"/></g>"##);
        }
        let patterns = r#"<pattern id="p" fill="url(#q)"/><pattern id="q" fill="url(#p)"/>"#;
        let deep = "<g>".repeat(5000) + &"</g>".repeat(5000);
        let chain = (1..300).fold(r#"<g id="c0"/>"#.to_owned(), |text, level| {
            format!(r##"{text}<g id="c{level}"><use href="#c{}"/></g>"##, level - 1)
        });
        for (name, inner) in [
            ("a billion laughs", laughs.as_str()),
            ("itself", r##"<g id="a"><use href="#a"/></g>"##),
            ("two patterns", patterns),
            ("depth", deep.as_str()),
            ("a chain", chain.as_str()),
        ] {
            assert!(matches!(drawn(&wrap(inner), None), Err(Flaw::Broken(_))), "{name}");
        }
        let entities = format!(
            "<!DOCTYPE svg [{}]><svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\">&e9;</svg>",
            (1..10).fold("<!ENTITY e0 \"<g/>\">".to_owned(), |text, level| {
                format!("{text}<!ENTITY e{level} \"{}\">", format!("&e{};", level - 1).repeat(10))
            })
        );
        assert!(matches!(drawn(&entities, None), Err(Flaw::Broken(_))), "entities");
        let bomb =
            crate::media::samples::png(&[(*b"IHDR", crate::media::samples::header(Size::new(60_000, 60_000), 2))]);
        let inside = format!(
            r#"<image href="data:image/png;base64,{}" width="9" height="9"/>"#,
            base64_simd::STANDARD.encode_to_string(bomb)
        );
        assert!(drawn(&wrap(&inside), None).unwrap().data.iter().all(|byte| *byte == 0), "a bomb inside is left out");
    }

    #[test]
    fn what_illustrators_write_is_drawn() {
        let text = r##"<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10">
            <style>.a{fill:url(#g)} .b{fill:#0f0}</style>
            <linearGradient id="g"><stop offset="0" stop-color="#00f"/><stop offset="1" stop-color="#00f"/></linearGradient>
            <rect class="a" width="10" height="5"/><rect class="b" y="5" width="10" height="5"/></svg>"##;
        let made = drawn(text, Some(Size::new(10, 10))).unwrap();
        assert_eq!((&made.data[..4], &made.data[99 * 4..]), (&[0, 0, 255, 255][..], &[0, 255, 0, 255][..]));
    }
}
