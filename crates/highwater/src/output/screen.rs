//! What text is shown on: how wide it is, and whether it has colours. A pipe or a file has neither width nor colours.

use std::io::{self, IsTerminal as _};

/// What a text means. Where there are no colours nothing is lost: the words say it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// All is well.
    Good,
    /// Nothing is wrong, and somebody should know.
    Notice,
    /// Something is wrong.
    Bad,
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    width: Option<usize>,
    height: Option<usize>,
    has_colours: bool,
}

impl Screen {
    /// Standard output. `NO_COLOR` and a terminal that calls itself dumb have no colours.
    pub(crate) fn stdout() -> Self {
        let out = io::stdout();
        if !out.is_terminal() {
            return Self::plain();
        }
        Self { width: width_of(&out), height: height_of(&out), has_colours: has_colours() }
    }

    /// Without width and colours.
    pub(crate) fn plain() -> Self {
        Self { width: None, height: None, has_colours: false }
    }

    /// How many characters fit on a line; without bound if there is none.
    pub(crate) fn width(&self) -> Option<usize> {
        self.width
    }

    /// The text in the colour of its meaning.
    pub(crate) fn paint(&self, text: &str, tone: Option<Tone>) -> String {
        let colour = match tone {
            Some(Tone::Good) => 32,
            Some(Tone::Notice) => 33,
            Some(Tone::Bad) => 31,
            None => return text.to_owned(),
        };
        if self.has_colours { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// The text in lines that fit, each after `indent` spaces. A word that is longer than a line has one of its own.
    pub(crate) fn wrap(&self, text: &str, indent: usize) -> String {
        let width = self.width.unwrap_or(usize::MAX);
        let mut lines = String::new();
        let mut used = 0;
        for word in text.split(' ') {
            let length = word.chars().count();
            if used > 0 && used + 1 + length <= width {
                lines.push(' ');
                used += 1 + length;
            } else {
                if used > 0 {
                    lines.push('\n');
                }
                lines.push_str(&" ".repeat(indent));
                used = indent + length;
            }
            lines.push_str(word);
        }
        lines.push('\n');
        lines
    }

    /// What a terminal is to be sent to show this text in place of the one before, from its first line on. What does not fit is
    /// counted.
    pub(crate) fn in_place(&self, text: &str) -> String {
        let lines: Vec<&str> = text.lines().collect();
        // The cursor needs a line too.
        let fit = self.height.map_or(lines.len(), |height| height.saturating_sub(1).max(1));
        let mut shown = "\u{1b}[H".to_owned();
        let whole = if lines.len() > fit { fit - 1 } else { lines.len() };
        for line in &lines[..whole] {
            shown.push_str(&format!("{line}\u{1b}[K\n"));
        }
        if lines.len() > whole {
            shown.push_str(&format!("and {} more lines\u{1b}[K\n", lines.len() - whole));
        }
        shown.push_str("\u{1b}[J");
        shown
    }

    /// A name and what there is to say about it, in lines that fit, each beginning below the first one.
    pub(crate) fn fact(&self, name: &str, width: usize, text: &str) -> String {
        let lines = self.wrap(text, width);
        format!("{name:<width$}{}", &lines[width..])
    }
}

/// The width of a terminal, if it has one.
pub(super) fn width_of(terminal: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_col)).filter(|width| *width > 0)
}

/// The height of a terminal, if it has one.
fn height_of(terminal: &impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(terminal).ok()?;
    Some(usize::from(size.ws_row)).filter(|height| *height > 0)
}

/// Whether a terminal is to be shown colours.
fn has_colours() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
impl Screen {
    /// Without colours.
    pub(crate) fn of_width(width: usize) -> Self {
        Self { width: Some(width), height: None, has_colours: false }
    }

    /// Without a bound.
    pub(crate) fn coloured() -> Self {
        Self { width: None, height: None, has_colours: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_wrapped_between_words() {
        let text = "a text of some words";
        assert_eq!(Screen::of_width(12).wrap(text, 2), "  a text of\n  some words\n");
        assert_eq!(Screen::plain().wrap(text, 2), "  a text of some words\n");
        assert_eq!(Screen::of_width(3).wrap("longer than", 0), "longer\nthan\n");
        assert_eq!(Screen::of_width(16).fact("name", 6, text), "name  a text of\n      some words\n");
    }

    #[test]
    fn what_is_shown_in_place_never_scrolls() {
        let screen = Screen { height: Some(3), ..Screen::plain() };
        assert_eq!(screen.in_place("a\nb\n"), "\u{1b}[Ha\u{1b}[K\nb\u{1b}[K\n\u{1b}[J");
        assert_eq!(screen.in_place("a\nb\nc\n"), "\u{1b}[Ha\u{1b}[K\nand 2 more lines\u{1b}[K\n\u{1b}[J");
        assert_eq!(Screen::plain().in_place("a\n"), "\u{1b}[Ha\u{1b}[K\n\u{1b}[J");
    }
}
