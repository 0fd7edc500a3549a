//! Rust source without its comments and its literals, for searching what is code.
//!
//! Just enough of Rust's lexical structure: nested block comments, raw and byte strings, characters
//! that are not lifetimes.

/// The source with every comment and the inside of every string and character literal
/// replaced by nothing. Line breaks stay, so that line numbers hold.
pub fn code_only(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let skipped = comment_len(rest).or_else(|| literal_len(rest, out.chars().next_back()));
        let taken = match skipped {
            Some(length) => {
                out.extend(rest[..length].chars().filter(|c| *c == '\n'));
                // What stood on both sides of a literal must not become one word.
                out.push(' ');
                length
            }
            None => {
                out.push(first);
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    out
}

fn comment_len(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let mut depth = 0_usize;
    let mut position = 0;
    while position < rest.len() {
        let here = &rest.as_bytes()[position..];
        if here.starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if here.starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return Some(position);
            }
        } else {
            position += 1;
        }
    }
    Some(rest.len())
}

/// The length of a string or character literal that starts here.
fn literal_len(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let prefix = ["br", "cr", "b", "c", "r", ""]
        .into_iter()
        .find(|prefix| rest.strip_prefix(prefix).is_some_and(|after| after.starts_with(['"', '#', '\''])))?;
    let after = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        let body = after[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let length = body.find(&end).map_or(body.len(), |found| found + end.len());
        return Some(prefix.len() + hashes + 1 + length);
    }
    match after.chars().next()? {
        '"' => Some(prefix.len() + quoted_len(after, '"')),
        '\'' if is_character(after) => Some(prefix.len() + quoted_len(after, '\'')),
        _ => None,
    }
}

/// Tells `'a'` and `'\n'` from the lifetime `'a`.
fn is_character(after: &str) -> bool {
    let mut chars = after.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

fn quoted_len(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (position, c) in text.char_indices().skip(1) {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == quote {
            return position + c.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[test]
    fn comments_and_literals_are_no_code() {
        for hidden in [
            "// word",
            "/* word /* word */ word */",
            "\"word\"",
            "\"\\\" word\"",
            "b\"word\"",
            "r\"word\"",
            "r#\"a \" word\"#",
            "//! word",
        ] {
            let source = format!("let a = 1; {hidden}\nlet b = 2;");
            let code = code_only(&source);
            assert!(!code.contains("word"), "{source}");
            assert!(code.contains("let a") && code.contains("let b"), "{source}");
            assert_eq!(code.lines().count(), 2, "{source}");
        }
    }

    #[test]
    fn code_stays_code_next_to_lifetimes_characters_and_raw_names() {
        let source = "fn f<'a>(x: &'a str) { word('\"', '\\'', b'x', r#type); } // end";
        let code = code_only(source);
        assert!(code.contains("word(") && code.contains("<'a>") && code.contains("r#type"), "{code}");
        assert!(!code.contains("end"), "{code}");
    }
}
