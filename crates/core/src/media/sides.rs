//! The longest sides that file formats can hold.

use super::{Flaw, Format, Size};

/// Refuses sides that the format cannot write.
pub(super) fn fits(size: Size, format: Format) -> Result<(), Flaw> {
    let most = match format {
        Format::Webp => 16_383,
        Format::Jpeg | Format::Gif | Format::Avif => 65_535,
        Format::Png | Format::Svg => u32::MAX,
    };
    if size.long_side() > most {
        return Err(Flaw::Broken(format!("{format} images have at most {most} pixels a side, this one is {size}")));
    }
    Ok(())
}

/// Both sides as the 16 bits that JPEG and GIF have for them.
pub(super) fn narrow(size: Size) -> Result<(u16, u16), Flaw> {
    let narrow = |side| u16::try_from(side).map_err(|_| Flaw::Broken(format!("{size} pixels are too many a side")));
    Ok((narrow(size.width)?, narrow(size.height)?))
}
