//! Tables: columns as wide as their widest cell, laid out as Podman's are.

/// Least width of a column, the space after it included.
const LEAST: usize = 12;
/// Space after the widest cell of a column.
const SPACE: usize = 2;

/// Lays out rows; every column but a row's last is padded.
pub(crate) fn layout(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let mut widths = vec![0; columns];
    for row in rows {
        for (cell, width) in row.iter().zip(&mut widths) {
            *width = LEAST.max(*width).max(cell.chars().count() + SPACE);
        }
    }
    let mut text = String::new();
    for row in rows {
        for (index, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if index + 1 < row.len() {
                let padding = widths[index].saturating_sub(cell.chars().count());
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text
}

/// Lays out text whose lines have cells with tabs between.
pub(crate) fn layout_text(text: &str) -> String {
    let rows: Vec<Vec<String>> =
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect();
    layout(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_all_columns_but_the_last() {
        assert_eq!(
            layout_text("ID\tA LONG HEADING\tNAMES\n0123456789abcdef\tx\té\n"),
            "ID                A LONG HEADING  NAMES\n0123456789abcdef  x               é\n"
        );
        assert_eq!(layout_text("A\tB\n"), "A           B\n");
        assert_eq!(layout_text(""), "");
    }
}
