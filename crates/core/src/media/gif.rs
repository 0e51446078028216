//! GIF writing: a palette of its own for every frame, one slot of it for "transparent".

use super::bitmap::Bitmap;
use super::sides::narrow;
use super::{Flaw, Size};
use ::gif::{DisposalMethod, Encoder, Frame, Repeat};
use quantette::deps::palette::{Srgb, cast};
use quantette::{ImageRef, PaletteSize, Pipeline};
use std::collections::HashMap;

/// A GIF under construction.
pub(super) struct Writer {
    encoder: Encoder<Vec<u8>>,
    size: (u16, u16),
    /// The last frame, held back until the next one tells how it has to be cleared away.
    held: Option<Frame<'static>>,
    reduced: bool,
    /// Milliseconds that the coarser clock of GIF still owes.
    owed: u32,
}

impl Writer {
    /// Starts a file of that size which is played so often, 0 for ever.
    pub(super) fn open(size: Size, plays: u32) -> Result<Self, Flaw> {
        let (width, height) = narrow(size)?;
        let mut encoder = Encoder::new(Vec::new(), width, height, &[]).map_err(Flaw::encoding)?;
        match plays {
            0 => encoder.set_repeat(Repeat::Infinite).map_err(Flaw::encoding)?,
            1 => {}
            more => {
                let again = u16::try_from(more - 1).unwrap_or(u16::MAX);
                encoder.set_repeat(Repeat::Finite(again)).map_err(Flaw::encoding)?;
            }
        }
        Ok(Self { encoder, size: (width, height), held: None, reduced: false, owed: 0 })
    }

    /// Adds a frame of the size of the file, shown for `delay` milliseconds.
    pub(super) fn add(&mut self, pixels: &Bitmap, delay: u32) -> Result<(), Flaw> {
        let painted = paint(pixels)?;
        self.reduced |= painted.reduced;
        self.owed = self.owed.saturating_add(delay);
        let delay = u16::try_from((self.owed + 5) / 10).unwrap_or(u16::MAX);
        self.owed = self.owed.saturating_sub(u32::from(delay) * 10);
        let frame = Frame {
            delay,
            dispose: DisposalMethod::Keep,
            transparent: painted.clear,
            width: self.size.0,
            height: self.size.1,
            palette: Some(painted.palette),
            buffer: painted.indices.into(),
            ..Frame::default()
        };
        if let Some(mut held) = self.held.replace(frame) {
            // What shines through the next frame must not be this one.
            if painted.clear.is_some() {
                held.dispose = DisposalMethod::Background;
            }
            self.encoder.write_frame(&held).map_err(Flaw::encoding)?;
        }
        Ok(())
    }

    /// The file, and whether colours were lost.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, bool), Flaw> {
        if let Some(mut held) = self.held.take() {
            if held.transparent.is_some() {
                held.dispose = DisposalMethod::Background; // Before the next round.
            }
            self.encoder.write_frame(&held).map_err(Flaw::encoding)?;
        }
        Ok((self.encoder.into_inner().map_err(Flaw::encoding)?, self.reduced))
    }
}

/// A frame in palette form.
struct Painted {
    /// RGB triples.
    palette: Vec<u8>,
    /// One a pixel.
    indices: Vec<u8>,
    /// The index that is no colour.
    clear: Option<u8>,
    /// Whether there were more colours than fit.
    reduced: bool,
}

/// A pixel is transparent below half alpha, and opaque from there on.
fn paint(pixels: &Bitmap) -> Result<Painted, Flaw> {
    let opaque = |pixel: &[u8]| !pixels.alpha || pixel.get(3).is_some_and(|alpha| *alpha >= 128);
    let rows = || pixels.data.chunks_exact(pixels.channels());
    let has_clear = pixels.alpha && !rows().all(opaque);
    let slots: u8 = if has_clear { 254 } else { 255 }; // The highest index for a colour.
    let painted = match pixels.colours(usize::from(slots) + 1) {
        Some(palette) => exact(rows(), &palette),
        None => quantised(pixels, opaque, slots)?,
    };
    Ok(if has_clear { cleared(painted, rows().map(opaque)) } else { painted })
}

/// Few colours: every one is kept.
fn exact<'a>(rows: impl Iterator<Item = &'a [u8]>, palette: &[[u8; 3]]) -> Painted {
    let places: HashMap<[u8; 3], u8> = palette.iter().copied().zip(0..=255).collect();
    let mut last = ([0; 3], places.get(&[0; 3]).copied().unwrap_or_default());
    let indices = rows
        .map(|pixel| {
            let colour = pixel.first_chunk::<3>().copied().unwrap_or_default();
            if colour != last.0 {
                last = (colour, places.get(&colour).copied().unwrap_or_default());
            }
            last.1
        })
        .collect();
    Painted { palette: palette.concat(), indices, clear: None, reduced: false }
}

/// Many colours: Wu's quantiser and Floyd–Steinberg dithering.
fn quantised(pixels: &Bitmap, opaque: impl Fn(&[u8]) -> bool, slots: u8) -> Result<Painted, Flaw> {
    // Transparent pixels take one colour of the picture: a uniform area costs the palette next to nothing.
    let rows = || pixels.data.chunks_exact(pixels.channels());
    let stand_in = rows().find(|pixel| opaque(pixel)).and_then(<[u8]>::first_chunk::<3>).copied().unwrap_or_default();
    let colours: Vec<u8>;
    let colours: &[Srgb<u8>] = cast::from_component_slice(if pixels.alpha {
        let colour = |pixel: &[u8]| pixel.first_chunk().copied().filter(|_| opaque(pixel)).unwrap_or(stand_in);
        colours = rows().flat_map(colour).collect();
        &colours
    } else {
        &pixels.data
    });
    let image = ImageRef::new(pixels.size.width, pixels.size.height, colours)
        .map_err(|_| Flaw::broken("the image is too large for a GIF"))?;
    let (palette, indices) = Pipeline::new()
        .palette_size(PaletteSize::from_u16_clamped(u16::from(slots) + 1))
        .input_image(image)
        .output_srgb8_indexed_image()
        .into_parts();
    Ok(Painted { palette: cast::into_component_vec(palette), indices, clear: None, reduced: true })
}

/// Gives the transparent pixels an index of their own, after the colours.
fn cleared(painted: Painted, opaque: impl Iterator<Item = bool>) -> Painted {
    let clear = u8::try_from(painted.palette.len() / 3).unwrap_or(u8::MAX);
    let (mut palette, mut indices) = (painted.palette, painted.indices);
    palette.extend_from_slice(&[0, 0, 0]);
    for (index, opaque) in indices.iter_mut().zip(opaque) {
        if !opaque {
            *index = clear;
        }
    }
    Painted { palette, indices, clear: Some(clear), ..painted }
}
