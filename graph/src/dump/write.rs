//! Writing into a string, which cannot fail.

use std::fmt;
use std::ops::Range;

/// Appends formatted text. Formatting into a `String` fails only if a `Display` of this crate does, and none does.
macro_rules! put {
    ($out:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        let _ = write!($out, $($arg)*);
    }};
}

/// Appends formatted text and ends the line, without blanks at its end.
macro_rules! putln {
    ($out:expr) => { $out.push('\n') };
    ($out:expr, $($arg:tt)*) => {{
        $crate::dump::write::put!($out, $($arg)*);
        $out.truncate($out.trim_end_matches(' ').len());
        $out.push('\n');
    }};
}
pub(super) use {put, putln};

/// A byte range as `[0..64)`; an end that is not known is `end`.
pub(super) fn bytes(range: &Range<u64>) -> String {
    let mut s = format!("[{}..", range.start);
    match range.end {
        u64::MAX => s.push_str("end)"),
        end => put!(s, "{end})"),
    }
    s
}

/// `1 region`, `2 regions`.
pub(super) fn count(n: impl Into<u64>, what: &str) -> String {
    let n = n.into();
    let s = if n == 1 {
        ""
    } else if let Some(stem) = what.strip_suffix('y') {
        return format!("{n} {stem}ies");
    } else if what.ends_with("pass") {
        "es"
    } else {
        "s"
    };
    format!("{n} {what}{s}")
}

/// A length as `u64`.
pub(super) fn len<T>(items: &[T]) -> u64 {
    items.len() as u64
}

/// A position as `u32`; what lies beyond leads nowhere.
pub(super) fn at(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

/// A declared name on one line: control characters are shown, not obeyed.
pub(super) fn line(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            put!(out, "{}", c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Joins what can be displayed.
pub(super) fn join<T: fmt::Display>(items: impl IntoIterator<Item = T>, between: &str) -> String {
    let mut out = String::new();
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push_str(between);
        }
        put!(out, "{item}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_counts_read_like_sentences() {
        assert_eq!(bytes(&(0..64)), "[0..64)");
        assert_eq!(bytes(&(4..u64::MAX)), "[4..end)");
        assert_eq!(count(1_u32, "pass"), "1 pass");
        assert_eq!(count(2_u32, "pass"), "2 passes");
        assert_eq!(count(2_u32, "copy"), "2 copies");
        assert_eq!(count(0_u32, "region"), "0 regions");
    }

    #[test]
    fn a_name_stays_on_one_line() {
        assert_eq!(line("a\nb\u{202e}c"), "a\\u{a}b\\u{202e}c");
    }
}
