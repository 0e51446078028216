//! Pictures out of nothing, for the mock model and the sandbox: stripes and a gradient that depend on the prompt, with
//! the prompt written on them. The same prompt draws the same bytes.

use super::bitmap::Bitmap;
use super::draw_font::{GLYPH_HEIGHT, GLYPH_WIDTH, glyph};
use super::sides::fits;
use super::{Flaw, Format, Limits, Size, encode};
use bytes::Bytes;

/// Letters of a longer prompt are not drawn.
const MOST_LETTERS: usize = 400;

/// Steps of the gradient. Two stripes of it and the letters fit into a GIF's palette unchanged.
const STEPS: u32 = 96;

type Colour = [u8; 3];

/// Draws the prompt, in exactly that size and format.
///
/// # Errors
/// [`Flaw::TooManyPixels`] beyond the default limits, [`Flaw::Broken`] for sides that the format does not have.
pub fn draw(prompt: &str, size: Size, format: Format) -> Result<Bytes, Flaw> {
    let look = Look::of(prompt);
    if format == Format::Svg {
        return admitted(size).map(|()| look.vector(prompt, size));
    }
    let mut canvas = Canvas::new(size, format)?;
    look.paint(&mut canvas);
    write(&mut canvas, prompt);
    canvas.finish(format)
}

/// An all-black picture: what providers send when their safety checker refused the result.
///
/// # Errors
/// As [`draw`].
pub fn draw_black(size: Size, format: Format) -> Result<Bytes, Flaw> {
    if format == Format::Svg {
        let Size { width, height } = size;
        admitted(size)?;
        return Ok(Bytes::from(format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><rect width="100%" height="100%"/></svg>"#
        )));
    }
    Canvas::new(size, format)?.finish(format)
}

fn admitted(size: Size) -> Result<(), Flaw> {
    let max = Limits::default().max_pixels;
    match size.area() {
        0 => Err(Flaw::broken("the image has no pixels")),
        area if area > max => Err(Flaw::TooManyPixels { size, max }),
        _ => Ok(()),
    }
}

/// Pixels being drawn, black at first.
struct Canvas {
    size: Size,
    /// Pixels a row.
    width: usize,
    data: Vec<u8>,
}

impl Canvas {
    fn new(size: Size, format: Format) -> Result<Self, Flaw> {
        admitted(size)?;
        fits(size, format)?;
        let length = usize::try_from(size.area() * 3).map_err(|_| Flaw::broken("the image is too large"))?;
        Ok(Self { size, width: index(size.width), data: vec![0; length] })
    }

    fn rows(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.data.chunks_exact_mut(self.width * 3)
    }

    /// Fills a rectangle, as far as it is on the canvas.
    fn fill(&mut self, left: u32, top: u32, size: Size, colour: Colour) {
        let right = left.saturating_add(size.width).min(self.size.width);
        let columns = index(left) * 3..index(right) * 3;
        for row in self.rows().skip(index(top)).take(index(size.height)) {
            for pixel in row.get_mut(columns.clone()).unwrap_or_default().as_chunks_mut::<3>().0 {
                *pixel = colour;
            }
        }
    }

    fn finish(self, format: Format) -> Result<Bytes, Flaw> {
        let pixels = Bitmap::new(self.size, self.data, false)?;
        encode::still(pixels, None, format, None, &mut Vec::new()).map(Bytes::from)
    }
}

/// What a prompt looks like.
struct Look {
    top: Colour,
    bottom: Colour,
    /// Stripes across the longer side.
    stripes: u32,
    /// Whether they lean to the left.
    left: bool,
}

impl Look {
    fn of(prompt: &str) -> Self {
        // FNV-1a: tiny, and the same on every machine and in every version.
        let hash = prompt
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let hash = hash ^ hash >> 29;
        let [r0, g0, b0, r1, g1, b1, number, lean] = hash.to_le_bytes();
        // Not too dark above and not too light below, so that white letters on a dark band can be read.
        let light = |byte: u8| 64 + byte / 2;
        let dark = |byte: u8| byte / 2;
        Self {
            top: [r0, g0, b0].map(light),
            bottom: [r1, g1, b1].map(dark),
            stripes: 5 + u32::from(number % 12),
            left: lean & 1 == 1,
        }
    }

    fn paint(&self, canvas: &mut Canvas) {
        let Size { width, height } = canvas.size;
        let stripe = index((canvas.size.long_side() / self.stripes).max(1));
        for (row, y) in canvas.rows().zip(0u32..) {
            let plain = self.shade(y, height);
            let bright = plain.map(|colour| colour.saturating_add(24));
            let shift = index(if self.left { y } else { height - y }) % (2 * stripe);
            // Whole runs are filled; deciding pixel by pixel takes four times as long.
            let (mut x, mut end) = (0, (stripe - shift % stripe).min(index(width)));
            let mut lit = shift >= stripe;
            while x < index(width) {
                let colour = if lit { bright } else { plain };
                for pixel in row.get_mut(x * 3..end * 3).unwrap_or_default().as_chunks_mut::<3>().0 {
                    *pixel = colour;
                }
                (x, end, lit) = (end, (end + stripe).min(index(width)), !lit);
            }
        }
    }

    fn shade(&self, y: u32, height: u32) -> Colour {
        let step = u32::try_from(u64::from(y) * u64::from(STEPS) / u64::from(height.max(1))).unwrap_or_default();
        let mix = |from: u8, to: u8| {
            let sum = u32::from(from) * (STEPS - step.min(STEPS)) + u32::from(to) * step;
            u8::try_from(sum / STEPS).unwrap_or(u8::MAX)
        };
        let ([r0, g0, b0], [r1, g1, b1]) = (self.top, self.bottom);
        [mix(r0, r1), mix(g0, g1), mix(b0, b1)]
    }

    fn vector(&self, prompt: &str, size: Size) -> Bytes {
        let Size { width, height } = size;
        let colour = |[red, green, blue]: Colour| format!("#{red:02x}{green:02x}{blue:02x}");
        let (top, bottom) = (colour(self.top), colour(self.bottom));
        let letter = (width.min(height) / 16).max(1);
        let text: String = prompt.chars().filter(|c| !c.is_control()).take(MOST_LETTERS).map(escaped).collect();
        Bytes::from(format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">"#,
                r#"<defs><linearGradient id="g" x2="0" y2="1"><stop stop-color="{top}"/><stop offset="1" stop-color="{bottom}"/></linearGradient></defs>"#,
                r#"<rect width="{width}" height="{height}" fill="url(#g)"/>"#,
                r##"<text x="{letter}" y="50%" font-family="monospace" font-size="{letter}" fill="#fff">{text}</text></svg>"##,
            ),
            width = width,
            height = height,
            top = top,
            bottom = bottom,
            letter = letter,
            text = text,
        ))
    }
}

/// A character that no parser mistakes for markup, nor for one that XML forbids.
fn escaped(letter: char) -> String {
    match letter {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '\u{fffe}' | '\u{ffff}' => String::new(),
        plain => plain.to_string(),
    }
}

/// Writes the prompt in the middle, in lines on a dark band. Too small a canvas stays empty.
fn write(canvas: &mut Canvas, prompt: &str) {
    let Size { width, height } = canvas.size;
    let scale = (width.min(height) / 160).max(1);
    let (cell, line) = ((GLYPH_WIDTH + 1) * scale, (GLYPH_HEIGHT + 3) * scale);
    let columns = (width.saturating_sub(2 * cell)) / cell;
    let most_lines = (height.saturating_sub(2 * line)) / line;
    let mut lines = wrapped(prompt, index(columns));
    lines.truncate(index(most_lines));
    if columns == 0 || lines.is_empty() {
        return;
    }
    let rows = u32::try_from(lines.len()).unwrap_or(most_lines);
    let mut top = (height - rows * line) / 2;
    canvas.fill(0, top - line / 2, Size::new(width, (rows + 1) * line), [24, 24, 28]);
    for text in lines {
        let mut left = cell;
        for letter in text {
            for (bits, column) in glyph(letter).into_iter().zip(0..) {
                for row in (0..GLYPH_HEIGHT).filter(|row| bits >> row & 1 == 1) {
                    let (x, y) = (left + column * scale, top + row * scale + scale);
                    canvas.fill(x, y, Size::new(scale, scale), [245, 245, 240]);
                }
            }
            left += cell;
        }
        top += line;
    }
}

/// The prompt in lines of so many letters, broken at spaces where there are any.
fn wrapped(prompt: &str, columns: usize) -> Vec<Vec<char>> {
    let mut lines = Vec::new();
    let mut line: Vec<char> = Vec::new();
    let text: String = prompt.chars().take(MOST_LETTERS).collect();
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        if !line.is_empty() && line.len() + 1 + word.len() > columns {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        while columns > 0 && line.len() + word.len() > columns {
            let rest = word.split_off(columns - line.len());
            line.append(&mut word);
            lines.push(std::mem::take(&mut line));
            word = rest;
        }
        line.append(&mut word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// A side or coordinate as an index; a `u32` fits everywhere that we run.
fn index(side: u32) -> usize {
    usize::try_from(side).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::inspect;

    const ALL: [Format; 6] = [Format::Png, Format::Jpeg, Format::Webp, Format::Gif, Format::Avif, Format::Svg];

    #[test]
    fn draws_what_was_asked_for() {
        let sides = [(1, 1), (2, 3), (17, 1000), (1000, 17), (320, 200)];
        for size in sides.map(|(width, height)| Size::new(width, height)) {
            for format in ALL {
                for bytes in [draw("a <b>red & blue</b> fox, größer 🦊", size, format), draw_black(size, format)] {
                    let bytes = bytes.unwrap_or_else(|flaw| panic!("{format} {size}: {flaw}"));
                    let facts = inspect::inspect(&bytes, &Limits::default()).unwrap();
                    assert_eq!((facts.format, facts.size, facts.animated), (format, size, false));
                }
            }
        }
    }

    #[test]
    fn is_deterministic_and_depends_on_the_prompt() {
        let size = Size::new(96, 64);
        for format in ALL {
            assert_eq!(draw("a fox", size, format), draw("a fox", size, format));
            assert_ne!(draw("a fox", size, format), draw("a fax", size, format));
        }
    }

    #[test]
    fn refuses_what_it_cannot_draw() {
        assert!(draw("x", Size::new(16_384, 16_384), Format::Png).is_err());
        assert!(draw("x", Size::new(16_384, 8), Format::Webp).is_err());
        assert!(draw("x", Size::new(0, 8), Format::Png).is_err());
    }

    #[test]
    fn a_vector_escapes_the_prompt() {
        let bytes = draw("</text><script>&\u{0}", Size::new(64, 64), Format::Svg).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(text.contains("&lt;/text&gt;&lt;script&gt;&amp;</text>"), "{text}");
    }

    #[test]
    fn wraps_at_spaces_and_inside_long_words() {
        let lines = |text: &str, columns| -> Vec<String> {
            wrapped(text, columns).into_iter().map(|line| line.into_iter().collect()).collect()
        };
        assert_eq!(lines("a red fox", 5), ["a red", "fox"]);
        assert_eq!(lines("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
        assert_eq!(lines("", 3), Vec::<String>::new());
    }
}
