//! Columns under headings, each as wide as its widest cell.
//!
//! Where the screen is too narrow, columns that can be spared go, in the order in which they were named; nothing is ever
//! cut off within a cell. A column that can be spared and has nothing in it is never shown.

use super::screen::{Screen, Tone};

/// The space between two columns.
const GAP: usize = 2;

/// What stands in one place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A text that stands out where there are colours.
    pub(crate) fn toned(text: impl Into<String>, tone: Option<Tone>) -> Self {
        Self { text: text.into(), tone }
    }

    /// As it looks on a screen.
    pub(crate) fn paint(&self, screen: &Screen) -> String {
        screen.paint(&self.text, self.tone)
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tone: None }
    }
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
    /// Headings of columns that can be spared, the least useful first.
    spare: &'static [&'static str],
}

impl Table {
    /// With these headings, and no rows yet.
    pub(crate) fn new(headings: &[&str]) -> Self {
        let headings = headings.iter().map(|&heading| Cell::from(heading.to_owned())).collect();
        Self { rows: vec![headings], spare: &[] }
    }

    /// These columns can be spared, the least useful first.
    pub(crate) fn spare(mut self, headings: &'static [&'static str]) -> Self {
        self.spare = headings;
        self
    }

    /// Adds a row.
    pub(crate) fn row<C: Into<Cell>>(&mut self, cells: Vec<C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table for whoever reads it without a screen.
    pub(crate) fn render(&self) -> String {
        self.render_on(&Screen::plain())
    }

    /// The table as it fits on a screen.
    pub(crate) fn render_on(&self, screen: &Screen) -> String {
        let (columns, widths) = (self.columns(screen.width()), self.widths());
        let last_of = |row: &[Cell]| {
            columns.iter().rposition(|column| row.get(*column).is_some_and(|cell| !cell.text.is_empty()))
        };
        let mut text = String::new();
        for row in &self.rows {
            for (place, &column) in columns.iter().enumerate().take(last_of(row).map_or(0, |last| last + 1)) {
                let Some(cell) = row.get(column) else { break };
                text.push_str(&cell.paint(screen));
                if Some(place) != last_of(row) {
                    text.push_str(&" ".repeat(widths[column] - cell.width() + GAP));
                }
            }
            text.truncate(text.trim_end_matches(' ').len());
            text.push('\n');
        }
        text
    }

    /// The columns that are shown.
    fn columns(&self, width: Option<usize>) -> Vec<usize> {
        let widths = self.widths();
        let is_empty = |column: usize| {
            self.rows[1..].iter().all(|row| row.get(column).is_none_or(|cell| cell.text.is_empty()))
        };
        let spared = |column: usize| {
            let heading = &self.rows[0].get(column)?.text;
            self.spare.iter().position(|spare| spare == heading)
        };
        let mut columns: Vec<usize> =
            (0..widths.len()).filter(|column| spared(*column).is_none() || !is_empty(*column)).collect();
        let taken = |columns: &[usize]| {
            let cells: usize = columns.iter().map(|column| widths[*column] + GAP).sum();
            cells.saturating_sub(GAP)
        };
        for spare in 0..self.spare.len() {
            if width.is_none_or(|width| taken(&columns) <= width) {
                break;
            }
            columns.retain(|column| spared(*column) != Some(spare));
        }
        columns
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column| self.rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max();
        (0..columns).map(|column| width(column).unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Table {
        let mut table = Table::new(&["NODE", "RACK", "VERSION", "ADDRESS"]).spare(&["VERSION", "RACK"]);
        table.row(["1", "", "0.1.0", "127.0.0.1:7400"].map(str::to_owned).to_vec());
        table.row(["22", "", "0.1.0", "127.0.0.1:7410"].map(str::to_owned).to_vec());
        table
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["NAME", "N"]);
        table.row(vec!["a-long-name".to_owned(), "1".to_owned()]);
        table.row(vec!["b".to_owned(), String::new()]);
        assert_eq!(table.render(), "NAME         N\na-long-name  1\nb\n");
    }

    #[test]
    fn a_column_that_says_nothing_is_left_out() {
        assert_eq!(
            nodes().render(),
            "NODE  VERSION  ADDRESS\n1     0.1.0    127.0.0.1:7400\n22    0.1.0    127.0.0.1:7410\n"
        );
    }

    #[test]
    fn a_narrow_screen_keeps_the_columns_that_cannot_be_spared() {
        let narrow = Screen::of_width(10);
        assert_eq!(nodes().render_on(&narrow), "NODE  ADDRESS\n1     127.0.0.1:7400\n22    127.0.0.1:7410\n");
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new(&["STATE", "N"]);
        table.row(vec![Cell::toned("down", Some(Tone::Bad)), "1".to_owned().into()]);
        assert_eq!(table.render_on(&Screen::coloured()), "STATE  N\n\u{1b}[31mdown\u{1b}[0m   1\n");
    }
}
