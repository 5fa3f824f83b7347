//! Sizes in bytes: a type of their own, so that they are never mixed up with blocks or sectors.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A size or an offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// util-linux's suffixes: `K` and `KiB` are 1024, `KB` is 1000 (`man truncate`, `man losetup`).
const UNITS: [(&str, u64); 5] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40), ("P", 1 << 50)];

impl Bytes {
    /// `n` MiB.
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n << 20)
    }

    /// `n` GiB.
    pub const fn gib(n: u64) -> Bytes {
        Bytes(n << 30)
    }

    /// The difference to a smaller size; zero where `other` is the larger.
    #[must_use]
    pub fn saturating_sub(self, other: Bytes) -> Bytes {
        Bytes(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Bytes {
    /// As a person would say it: the largest unit that leaves at least 1, one decimal where it matters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, size)) = UNITS.iter().rev().find(|(_, size)| self.0 >= *size) else {
            return f.pad(&format!("{} B", self.0));
        };
        let tenths = (u128::from(self.0) * 10 + u128::from(size / 2)) / u128::from(*size);
        let text = match tenths % 10 {
            0 => format!("{} {unit}iB", tenths / 10),
            t => format!("{}.{t} {unit}iB", tenths / 10),
        };
        f.pad(&text)
    }
}

/// Why a text is not a size.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a size: write a whole number with a unit, as in 512M, 50G or 1T (powers of 1024; KB, MB, GB are powers of 1000)"
)]
pub struct NotASize(String);

impl FromStr for Bytes {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Bytes, NotASize> {
        let wrong = || NotASize(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let unit = unit.trim_start().to_ascii_uppercase();
        let factor = match unit.as_str() {
            "" | "B" => 1,
            unit => {
                let (power, (_, binary)) =
                    (1u32..).zip(UNITS).find(|(_, (letter, _))| unit.starts_with(letter)).ok_or_else(wrong)?;
                match &unit[1..] {
                    "" | "IB" => binary,
                    "B" => 1000u64.pow(power),
                    _ => return Err(wrong()),
                }
            }
        };
        number.checked_mul(factor).map(Bytes).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_util_linux_reads_them() {
        for (text, bytes) in [
            ("512", 512),
            ("4K", 4096),
            ("1 GiB", 1 << 30),
            ("10GB", 10_000_000_000),
            ("64m", 64 << 20),
            ("16T", 16 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "G", "-1G", "1.5G", "10 XB", "1GG", "99999999P"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_printed_for_people() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (4096, "4 KiB"), (50 << 30, "50 GiB"), ((1 << 30) + (1 << 29), "1.5 GiB")]
        {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }
}
