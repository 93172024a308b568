//! Sizes in the peer's text form: `2GB`, `32MB`, `100B`.

const UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

/// Parses a whole number with a unit; units are powers of 1024.
///
/// # Errors
/// What was expected.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let bad = || format!("expected a number with a unit (B, KB, MB, GB, TB), got '{text}'");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(split);
    let (_, size) =
        UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(bad)?;
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(*size)).ok_or_else(bad)
}

/// Prints a size in the largest unit that leaves a whole number.
#[must_use]
pub fn format(size: u64) -> String {
    let fits = |(_, factor): &&(&str, u64)| size >= *factor && size.is_multiple_of(*factor);
    let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
    format!("{}{unit}", size / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_printed_whole() {
        for text in ["0B", "1023B", "1KB", "1025KB", "3MB", "2TB", "1048577B"] {
            assert_eq!(format(parse(text).expect(text)), text);
        }
        assert_eq!(format(2048 << 10), "2MB");
    }

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        assert_eq!(parse("2GB"), Ok(2 << 30));
        assert_eq!(parse(" 0B "), Ok(0));
        assert_eq!(parse("10KB"), Ok(10_240));
        assert_eq!(parse("3mb"), Ok(3 << 20));
        for text in ["", "2", "GB", "2 GB", "-1B", "1.5GB", "99999999999999999TB"] {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with("expected a number with a unit"), "{error}");
        }
    }
}
